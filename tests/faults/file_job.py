"""A job whose source is a file: one job, however often its producer dies."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.counting import Judge, SourceRow
from tests.faults.deployment import Deployment
from tests.faults.jobs import Job
from tests.faults.sources import write_csv


class FileJob(Job):
    """The rows of a CSV file."""

    in_order = True

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        rows: Sequence[SourceRow],
        judge: Judge,
        model: str | None = None,
    ) -> None:
        super().__init__(deployment, rows, judge, model)
        self._path = deployment.folder / f"{name}.csv"
        self._number: int | None = None
        write_csv(self._path, rows)

    def start_producer(self, **settings: str) -> subprocess.Popen[str]:
        """Start `producer ingest FILE`."""
        return self.deployment.cluster.start_producer(
            "ingest", self._path, "--wait", "--json", *self.options(), **settings
        )

    def numbers(self) -> list[int]:
        """Return the number of the one job that reads the file."""
        if self._number is None:
            query = "SELECT id FROM jobs WHERE source = :source"
            found = self.deployment.rows(query, source=str(self._path))
            assert len(found) <= 1, f"one file is one job, not {len(found)}"
            self._number = int(found[0].id) if found else None
        return [] if self._number is None else [self._number]

    def is_exhausted(self) -> bool:
        """Whether the file is read to its end."""
        query = "SELECT source_exhausted FROM jobs WHERE id = :job"
        return bool(self.deployment.value(query, job=self.number))

    def finish(self) -> None:
        """Wait until the producer has seen the job's end, and says so."""
        out, err, status = self.wait_for_producer(self.form.patience)
        last = (err.strip().splitlines() or ["it said nothing"])[-1]
        tail = self.deployment.cluster.logs()[-2000:]
        assert status == 0, f"the producer left with status {status}: {last}\n{err}\n{tail}"
        self.said += err
        summary: Mapping[str, Any] = json.loads(out)
        assert (summary["job"], summary["state"]) == (self.number, "done"), summary
