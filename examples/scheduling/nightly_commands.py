"""What runs every night, and what its end means: for Airflow's DAGs and for Celery beat alike.

Nothing of Labelstream is imported, so that Airflow's own Python can run it. The commands run in
HOME, where a `.env` (mode 0600) holds their settings: no DAG and no message needs a password.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Where `producer` and `training` are. Airflow's own environment has neither.
BIN = Path(os.environ.get("NIGHTLY_BIN", "/opt/labelstream/.venv/bin"))

#: The folder that the commands run in.
HOME = Path(os.environ.get("NIGHTLY_HOME", "/var/lib/labelstream"))

#: A day's texts are the file TEXTS/2026-01-31.csv, its labels LABELS/2026-01-31.parquet.
TEXTS = Path(os.environ.get("NIGHTLY_TEXTS", "/srv/texts"))
LABELS = Path(os.environ.get("NIGHTLY_LABELS", "/srv/labels"))

#: The original labelled data: a folder with train.*, val.* and test.*. The gate compares on the test
#: split; people's corrections come from the database, without being named here.
DATA = Path(os.environ.get("NIGHTLY_DATA", "/srv/labelled"))

#: The model that is retrained.
MODEL = os.environ.get("NIGHTLY_MODEL", "emotion")

#: The job ran and failed. Trying it again gives the same end.
FAILED = 1

#: Seconds that a command has to leave after TERM.
_LEAVE_SECONDS = 30.0

_under_way: set[subprocess.Popen[str]] = set()


def ingest(day: str) -> list[str]:
    """Label the texts of `day` (2026-01-31).

    The key makes it the same job at each call: a second one does no work, and one that follows a
    broken run goes on where that stopped. Without `--wait` it would end before a worker began.
    """
    return [
        *("producer", "ingest", str(TEXTS / f"{day}.csv"), "--job-key", f"texts-{day}"),
        *("--wait", "--json"),
    ]


def export(job: int, day: str) -> list[str]:
    """Write the labels of a job as Parquet; again, if they were written before."""
    out = LABELS / f"{day}.parquet"
    return ["producer", "export", str(job), "--format", "parquet", "--out", str(out), "--force"]


def retrain() -> list[str]:
    """Fit the version in production anew, with people's corrections; it serves only if it is better."""
    return [
        *("training", "retrain", "--data", str(DATA), "--model", MODEL),
        *("--promote-if-better", "--json"),
    ]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    #: 0 done; 1 the job failed; 2 arguments, source or a service unusable; 130 interrupted.
    status: int
    #: The object that `--json` prints, also for a job that failed.
    result: dict[str, Any] | None
    #: All of stderr: progress, and the error as its last line.
    log: str

    @property
    def error(self) -> str:
        """The line that says what went wrong, where, and what to do."""
        lines = self.log.strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def run(command: Sequence[str], seconds: float) -> Ended:
    """Run a command of BIN in HOME. After `seconds` it is told to leave, and ends with status 130.

    Raises OSError if BIN has no such command or HOME is no folder.
    """
    program, *arguments = command
    with _started([str(BIN / program), *arguments]) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=_LEAVE_SECONDS)
    return Ended(process.returncode, json.loads(out) if out.startswith("{") else None, err)


def break_off() -> None:
    """Tell what runs now to leave; it does so in order, with status 130."""
    for process in tuple(_under_way):
        process.terminate()


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=HOME,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _under_way.add(process)
    try:
        yield process
    except BaseException:
        # Whoever waits is told to leave, or the command does not heed TERM: nothing is left running.
        process.kill()
        raise
    finally:
        process.wait()
        _under_way.discard(process)
