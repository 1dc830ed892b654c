"""Embedded mode with a stream: `tail -f x | producer ingest -` on a machine with nothing set up."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

from tests.cluster import BIN, clean_environment, wait_until


def test_a_pipe_is_labelled_as_it_comes_and_ctrl_c_ends_all_in_order(tmp_path: Path) -> None:
    growing = tmp_path / "growing.txt"
    growing.write_text("i feel happy\n")
    errors = tmp_path / "errors"
    with errors.open("w") as stderr:
        pipeline = subprocess.Popen(
            ["sh", "-c", f'tail -n +1 -f growing.txt | "{BIN / "producer"}" ingest - --json'],
            cwd=tmp_path,
            env=clean_environment(LABELSTREAM_ENGINE="constant"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        wait_until(lambda: labelled(tmp_path) == ["i feel happy"], 120, "the first line")
        with growing.open("a") as file:
            file.write("so sad today\n")
        wait_until(lambda: len(labelled(tmp_path)) == 2, 60, "the second line")
        # What Ctrl-C does at a terminal: every process of the pipeline gets the signal.
        os.killpg(pipeline.pid, signal.SIGINT)
        out, _ = pipeline.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pipeline.pid, signal.SIGKILL)
    result = json.loads(out)
    assert (result["state"], result["rows"], result["labeled"]) == ("done", 2, 2)
    assert labelled(tmp_path) == ["i feel happy", "so sad today"]
    left = subprocess.run(
        ["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert left.stdout == "", "nothing is left running"


def labelled(folder: Path) -> list[str]:
    database = folder / ".labelstream" / "labelstream.db"
    if not database.exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            found = connection.execute("SELECT text FROM labeled_texts ORDER BY row_number")
            return [row[0] for row in found]
    except sqlite3.OperationalError:
        return []  # Its tables are not there yet.
