"""A job that goes through a fault: begun, looked at from the ledger, gone on with, counted."""

import json
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster import wait_until
from tests.faults.counting import Judge, SourceRow, differences
from tests.faults.deployment import Deployment
from tests.faults.sources import write_csv

#: Share of a job's rows that is done before a fault strikes.
_BEGUN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Tenure:
    """By which claim a chunk is, or was last, held."""

    token: str | None
    claims: int


class Job(ABC):
    """What faults know of the job under way, whatever its source is.

    A kind of source says how its producer is started and when it is read to its end.
    """

    def __init__(
        self, deployment: Deployment, rows: Sequence[SourceRow], judge: Judge, model: str | None
    ) -> None:
        self.deployment = deployment
        self.form = deployment.form
        self.rows = rows
        self._judge = judge
        self._model = model
        self._number: int | None = None
        #: What producers of this job have said on their way out.
        self.said = ""
        self.producer: subprocess.Popen[str] | None = None
        self._struck: tuple[float, int] | None = None

    @abstractmethod
    def start_producer(self, **settings: str) -> subprocess.Popen[str]:
        """Start the command that reads the source; the same command each time."""

    @abstractmethod
    def find(self) -> int | None:
        """Return the job's number in the ledger; None while there is none."""

    def begin(self, **settings: str) -> None:
        """Start the producer, and wait until the job is there."""
        self.producer = self.start_producer(**settings)
        self._number = wait_until(self.find, 120, "the job is in the ledger")

    def again(self) -> None:
        """Give the same command again, as who finds it dead does."""
        assert self.producer is None, "the producer before it was waited for"
        self.producer = self.start_producer()

    @property
    def number(self) -> int:
        """The job's number in the ledger."""
        assert self._number is not None, "the job has begun"
        return self._number

    def wait_until_under_way(self) -> None:
        """Return when some of its rows are done."""
        enough = len(self.rows) * _BEGUN_SHARE
        wait_until(lambda: self.done_rows() >= enough, self.form.patience, "rows are done")

    def producer_ends(self, seconds: float) -> int:
        """Wait until the producer has left; return its exit status."""
        assert self.producer is not None, "a producer was started"
        out, err = self.producer.communicate(timeout=seconds)
        status = self.producer.returncode
        self.said += out + err
        self.producer = None
        return status

    def finish(self) -> None:
        """Wait until the producer has seen the job's end."""
        assert self.producer is not None, "somebody waits for the job"
        out, err = self.producer.communicate(timeout=self.form.patience)
        assert self.producer.returncode == 0, f"the producer: {err} {self._tails()}"
        self.said += err
        self.producer = None
        summary: Mapping[str, Any] = json.loads(out)
        assert (summary["job"], summary["state"]) == (self.number, "done"), summary

    def _tails(self) -> str:
        return self.deployment.cluster.logs()[-2000:]

    # What stands in the ledger.

    def done_rows(self) -> int:
        """Return how many rows are labelled or rejected."""
        query = (
            "SELECT (SELECT count(*) FROM labeled_texts WHERE job_id = :job)"
            " + (SELECT count(*) FROM rejects WHERE job_id = :job)"
        )
        return int(self.deployment.value(query, job=self.number))

    def open_rows(self) -> int:
        """Return how many rows of the source are in no place yet."""
        return len(self.rows) - self.done_rows()

    def is_exhausted(self) -> bool:
        """Whether the source is read to its end."""
        query = "SELECT source_exhausted FROM jobs WHERE id = :job"
        return bool(self.deployment.value(query, job=self.number))

    def held_by(self, worker: subprocess.Popen[str]) -> dict[int, Tenure]:
        """Return the chunks that a worker holds a lease of."""
        return self._tenures("state = 'leased' AND worker LIKE :name", name=f"%/{worker.pid}")

    def queued(self) -> dict[int, Tenure]:
        """Return the chunks that nobody holds and that are not done."""
        return self._tenures("state = 'queued'")

    def tenures(self, numbers: Collection[int]) -> dict[int, Tenure]:
        """Return how some chunks are held now, or were when they were closed."""
        everything = self._tenures("1 = 1")
        return {number: everything[number] for number in numbers}

    def _tenures(self, which: str, **parameters: Any) -> dict[int, Tenure]:
        found = self.deployment.rows(
            f"SELECT number, lease_token, claims FROM chunks WHERE job_id = :job AND {which}",
            job=self.number,
            **parameters,
        )
        return {row.number: Tenure(row.lease_token, row.claims) for row in found}

    def claims(self) -> int:
        """Return how often chunks were claimed so far."""
        query = "SELECT coalesce(sum(claims), 0) FROM chunks WHERE job_id = :job"
        return int(self.deployment.value(query, job=self.number))

    # The fault, and after it.

    def require_an_open_third(self) -> None:
        """Fail unless at least a third of the rows is open."""
        open_rows = self.open_rows()
        assert open_rows * 3 >= len(self.rows), f"only {open_rows} rows are open"

    def struck(self) -> None:
        """Note that the fault strikes now."""
        self._struck = (time.monotonic(), self.open_rows())

    @property
    def struck_at(self) -> float:
        """When the fault struck, as `time.monotonic` has it."""
        assert self._struck is not None, "the fault struck"
        return self._struck[0]

    @property
    def open_when_struck(self) -> int:
        """How many rows were open then."""
        assert self._struck is not None, "the fault struck"
        return self._struck[1]

    def differences(self, versions: Collection[int]) -> list[str]:
        """Return what is wrong with the job after its end; nothing if all is right."""
        store = self.deployment.cluster.store
        return differences(store, self.number, self.rows, self._judge, versions)


class FileJob(Job):
    """A job whose source is a file."""

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
        write_csv(self._path, rows)

    def start_producer(self, **settings: str) -> subprocess.Popen[str]:
        """Start `producer ingest FILE`."""
        form = self.form
        options = ["--chunk-rows", str(form.chunk_rows), "--max-queued", str(form.max_open)]
        if self._model is not None:
            options += ["--model", self._model]
        return self.deployment.cluster.start_producer(
            "ingest", self._path, "--wait", "--json", *options, **settings
        )

    def find(self) -> int | None:
        """Return the number of the one job that reads the file."""
        query = "SELECT id FROM jobs WHERE source = :source"
        found = self.deployment.rows(query, source=str(self._path))
        assert len(found) <= 1, f"one file is one job, not {len(found)}"
        return int(found[0].id) if found else None
