"""The crontab: each line is one that cron understands, and does in cron's bare surroundings what it says."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from celery.schedules import crontab

from tests.cluster import BIN, Cluster, wait_until
from tests.deploy.nightly import (
    LABELED,
    REJECTED,
    SCHEDULING,
    TEXTS,
    bare_environment,
    deployment,
)

CRONTAB = SCHEDULING / "labelstream.crontab"
SCRIPT = SCHEDULING / "scheduled.sh"


@dataclass(frozen=True)
class Line:
    """A line of a crontab that runs something."""

    fields: tuple[str, ...]
    #: What the shell is given.
    command: str
    #: What the command reads: all after the first bare percent sign.
    standard_input: str | None


def as_cron_reads(text: str) -> tuple[dict[str, str], list[Line]]:
    """Return the variables and the lines of a crontab, by the rules of crontab(5)."""
    variables, lines = {}, []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := re.fullmatch(r"(\w+)\s*=\s*(.*)", line):
            variables[setting[1]] = setting[2]
            continue
        *fields, command = line.split(maxsplit=5)
        before, *after = re.split(r"(?<!\\)%", command, maxsplit=1)
        lines.append(
            Line(tuple(fields), before.replace(r"\%", "%"), after[0] if after else None)
        )  # fmt: skip
    return variables, lines


VARIABLES, LINES = as_cron_reads(CRONTAB.read_text())
INGEST, RETRAIN, PRUNE = LINES


def test_every_line_is_one_that_cron_understands() -> None:
    for line in LINES:
        minute, hour, day, month, weekday = line.fields
        # Celery's parser raises for what no field can be.
        crontab(minute, hour, weekday, day, month)
        assert line.standard_input is None, f"a bare percent sign ends {line.command!r}"
    assert [" ".join(line.fields) for line in LINES] == [
        "15 3,6 * * *",
        "0 4 * * *",
        "0 5 * * 0",
    ]


def test_its_variables_are_literal_absolute_and_no_secrets() -> None:
    for name, value in VARIABLES.items():
        # cron expands nothing in them.
        assert not set(value) & set("$~`"), name
        if name not in ("MAILTO", "PATH"):
            assert Path(value).is_absolute(), name
    assert all(Path(folder).is_absolute() for folder in VARIABLES["PATH"].split(":"))
    assert not re.search(r"://|password", "".join(VARIABLES.values()), re.IGNORECASE)


def test_the_shell_has_nothing_to_say_of_the_script() -> None:
    subprocess.run(["sh", "-n", SCRIPT], check=True, timeout=30)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not on the PATH")
    done = subprocess.run(
        ["shellcheck", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def run_by_cron(
    line: Line, folder: Path, tries: int = 1, pause: float = 0
) -> subprocess.Popen[str]:
    """Start a line as cron does, with the places of the crontab below `folder`."""
    given = {
        "HOME": str(folder),
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "SCHEDULED": str(SCRIPT),
        "TEXTS": str(folder / "texts"),
        "DATA": str(folder / "data"),
    }
    assert given.keys() <= VARIABLES.keys()
    environment = bare_environment(
        **{**VARIABLES, **given}, SCHEDULED_TRIES=str(tries), SCHEDULED_PAUSE=str(pause)
    )
    return subprocess.Popen(
        [VARIABLES["SHELL"], "-c", line.command], env=environment, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def mailed(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit status and what cron would mail."""
    out, _ = process.communicate(timeout=120)
    return process.returncode, out


def write_yesterday(folder: Path, texts: str = TEXTS) -> str:
    """Write the texts of yesterday; return how the day is called."""
    # A day that ended in mid-test would be another one.
    while datetime.now().strftime("%H:%M") in ("23:58", "23:59"):
        time.sleep(1)
    day = (datetime.now() - timedelta(days=1)).strftime("%Y-%m-%d")
    (folder / "texts" / f"{day}.csv").write_text(texts)
    return day


@pytest.fixture
def waiting(tmp_path: Path, redis_url: str) -> Iterator[Cluster]:
    """Give a deployment that has no worker yet."""
    with deployment(tmp_path, redis_url, LABELSTREAM_ENGINE="text-hash") as cluster:
        yield cluster


@pytest.fixture
def labelling(waiting: Cluster) -> Cluster:
    """Give a deployment whose worker is ready."""
    waiting.start_worker()
    return waiting


def log_of(cluster: Cluster, name: str) -> str:
    return (cluster.folder / "logs" / f"{name}.log").read_text()


def test_a_night_labels_the_days_file_once_however_often_the_line_runs(labelling: Cluster) -> None:
    folder = labelling.folder
    day = write_yesterday(folder)
    assert mailed(run_by_cron(INGEST, folder)) == (0, "")
    result = folder / "results" / f"texts-{day}.json"
    first = json.loads(result.read_text())
    assert (first["state"], first["labeled"], first["rejected"]) == ("done", LABELED, REJECTED)
    assert result.stat().st_mode & 0o077 == 0

    assert mailed(run_by_cron(INGEST, folder)) == (0, "")
    assert json.loads(result.read_text())["job"] == first["job"]
    assert "has these rows already" in log_of(labelling, f"texts-{day}")

    # It goes by its key, not by what the file holds: a file that grew is no other night.
    write_yesterday(folder, TEXTS + "40,one more\n")
    assert mailed(run_by_cron(INGEST, folder)) == (0, "")
    assert "but labelled other rows" in log_of(labelling, f"texts-{day}")
    assert labelling.value("SELECT count(*) FROM jobs WHERE NOT hidden") == 1
    assert labelling.value("SELECT count(*) FROM labeled_texts") == LABELED

    # Of the other lines: there is nothing to prune, and no data to retrain on.
    assert mailed(run_by_cron(PRUNE, folder)) == (0, "")
    status, mail = mailed(run_by_cron(RETRAIN, folder))
    assert (status, mail.count("\n")) == (2, 1)
    assert mail.startswith("retrain: status 2: error: ")
    assert "data does not exist: check --data" in mail


def test_a_second_run_is_refused_by_name_and_what_a_killed_one_left_is_finished(
    waiting: Cluster,
) -> None:
    folder = waiting.folder
    # What a worker would have done at its first start.
    waiting.start_worker().terminate()
    waiting.processes[-1].wait(timeout=40)
    day = write_yesterday(folder)
    first = run_by_cron(INGEST, folder)
    wait_until(
        lambda: waiting.value("SELECT count(*) FROM jobs WHERE source_exhausted"),
        60, "the rows are entered",
    )  # fmt: skip
    status, mail = mailed(run_by_cron(INGEST, folder))
    assert (status, mail.count("\n")) == (2, 1)
    assert mail.startswith(f"texts-{day}: status 2: error: job 1 is being read by producer ")

    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=30)
    assert waiting.value("SELECT count(*) FROM labeled_texts") == 0
    waiting.start_worker()
    assert mailed(run_by_cron(INGEST, folder)) == (0, "")
    assert waiting.value("SELECT count(*) FROM jobs WHERE NOT hidden") == 1
    assert waiting.value("SELECT count(*) FROM labeled_texts") == LABELED


def test_a_file_that_is_not_there_is_waited_for_and_then_said(labelling: Cluster) -> None:
    folder = labelling.folder
    day = write_yesterday(folder)
    file = folder / "texts" / f"{day}.csv"
    file.unlink()
    status, mail = mailed(run_by_cron(INGEST, folder, tries=2))
    assert (status, mail.count("\n")) == (2, 1)
    assert mail.startswith(f"texts-{day}: status 2: error: ")
    assert str(file) in mail
    assert log_of(labelling, f"texts-{day}").count("error: ") == 2
    assert not list((folder / "results").iterdir())

    late = run_by_cron(INGEST, folder, tries=100, pause=0.2)
    wait_until(
        lambda: log_of(labelling, f"texts-{day}").count("error: ") > 2, 60, "it was looked for"
    )
    file.write_text(TEXTS)
    assert mailed(late) == (0, "")
    assert labelling.value("SELECT count(*) FROM labeled_texts") == LABELED


def test_a_job_that_failed_is_said_at_once_and_not_tried_again(labelling: Cluster) -> None:
    folder = labelling.folder
    day = write_yesterday(folder, "id,text\n1,\n2,\n")
    status, mail = mailed(run_by_cron(INGEST, folder, tries=3))
    assert (status, mail.count("\n")) == (1, 1)
    assert mail.startswith(f"texts-{day}: status 1: error: job 1: every row was rejected (2); ")
    assert log_of(labelling, f"texts-{day}").count("error: ") == 1
    result = json.loads((folder / "results" / f"texts-{day}.json").read_text())
    assert (result["rows"], result["rejected"]) == (2, 2)


def test_without_a_command_the_script_says_how_it_is_called(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "name"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "scheduled.sh: give a name and a command: scheduled.sh NAME COMMAND...\n"
    assert not list(tmp_path.iterdir())
