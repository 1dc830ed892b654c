"""What a person sees who waits at a terminal, and what Ctrl-C does there."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import BIN, Cluster, clean_environment

CTRL_C = b"\x03"
CTRL_D = b"\x04"


class Terminal:
    """A `producer` at a terminal of its own."""

    def __init__(self, cluster: Cluster, *arguments: str | Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [BIN / "producer", *map(str, arguments)],
            env=clean_environment(**{**cluster.settings, "TERM": "xterm"}),
            cwd=cluster.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # Its controlling terminal, so that Ctrl-C reaches it as a signal.
            preexec_fn=lambda: os.login_tty(slave),
        )
        os.close(slave)
        self._seen = b""

    def read_until(self, condition: Callable[[str], bool], seconds: float = 60) -> str:
        """Read until what was shown fulfils `condition`, or the command has ended."""
        deadline = time.monotonic() + seconds
        while not condition(self.seen):
            assert time.monotonic() < deadline, self.seen
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if not ready:
                continue
            try:
                self._seen += os.read(self._master, 1 << 16)
            except OSError:
                break
        return self.seen

    @property
    def seen(self) -> str:
        return self._seen.decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def end(self) -> int:
        """Read what is left and return the exit status."""
        self.read_until(lambda _: False)
        os.close(self._master)
        return self.process.wait(timeout=30)


def test_progress_is_shown_and_ctrl_c_loses_nothing(hashing: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("id,text\n" + "".join(f"{n},text number {n}\n" for n in range(1, 5001)))
    # So small that it cannot be done before the key is pressed.
    terminal = Terminal(hashing, "ingest", path, "--chunk-rows", "2", "--max-queued", "1")
    shown = terminal.read_until(lambda text: " left" in text and "%  " in text)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert " rows/s" in shown
    assert any(f"{label} " in shown for label in ("sadness", "joy", "love", "anger", "fear"))
    job = hashing.value("SELECT max(id) FROM jobs")
    assert f"job {job} is interrupted and loses nothing" in terminal.seen
    assert terminal.seen.rstrip().endswith("interrupted")
    assert "Traceback" not in terminal.seen
    assert hashing.value("SELECT state FROM jobs WHERE id = :job", job=job) == "running"
    status = hashing.producer("status", str(job))
    assert "it was interrupted, and the same command goes on with it" in status.stdout
    relabelled = hashing.producer("relabel", str(job))
    assert relabelled.returncode == 2
    assert f"job {job} was interrupted" in relabelled.stderr

    rest = Terminal(hashing, "ingest", path)
    assert rest.end() == 0
    assert f"continuing job {job} after row" in rest.seen
    assert f"job {job} is done" in rest.seen
    numbers = hashing.rows(
        "SELECT row_number FROM labeled_texts WHERE job_id = :job ORDER BY row_number", job=job
    )
    assert [row.row_number for row in numbers] == list(range(1, 5001))


def test_lines_are_typed_in_and_ctrl_d_ends_them(hashing: Cluster) -> None:
    terminal = Terminal(hashing, "ingest", "-")
    terminal.read_until(lambda text: "reading from the terminal; end with Ctrl-D" in text)
    terminal.press(b"hello\n")
    terminal.read_until(lambda text: "1 row in, 1 labelled" in text)
    terminal.press(b"again\n" + CTRL_D)
    assert terminal.end() == 0, terminal.seen
    job = hashing.value("SELECT max(id) FROM jobs")
    assert f"job {job} is done" in terminal.seen
    assert " left" not in terminal.seen
    found = hashing.rows(
        "SELECT text FROM labeled_texts WHERE job_id = :job ORDER BY row_number", job=job
    )
    assert [row.text for row in found] == ["hello", "again"]


def test_the_first_ctrl_c_drains_a_stream_and_the_second_leaves(hashing: Cluster) -> None:
    # Nobody serves this queue: the first alone would wait for labels.
    terminal = Terminal(hashing, "ingest", "-", "--queue", "nobody", "--job-key", "typed")
    terminal.press(b"hello\n")
    terminal.read_until(lambda text: "1 row in, 0 labelled, 0 rejected, 1 waiting" in text)
    terminal.press(CTRL_C)
    terminal.read_until(lambda text: "no more is read" in text)
    assert terminal.process.poll() is None
    terminal.press(CTRL_C)
    assert terminal.end() == 130, terminal.seen
    job = hashing.value("SELECT max(id) FROM jobs")
    assert f"job {job} is interrupted and loses nothing" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert hashing.value("SELECT position FROM jobs WHERE id = :job", job=job)
    assert hashing.producer("cancel", str(job)).returncode == 0
