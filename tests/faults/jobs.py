"""A job that goes through a fault: begun, looked at from the ledger, gone on with, counted."""

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.cluster import wait_until
from tests.faults.counting import Judge, SourceRow, differences
from tests.faults.deployment import Deployment

#: Share of a job's rows that is done before a fault strikes.
_BEGUN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Tenure:
    """By which claim a chunk is, or was last, held."""

    token: str | None
    claims: int


class Job(ABC):
    """The rows of one source on their way, whatever that is.

    A kind of source says how its producer is started, when it is read to its end, and how a producer
    that is left to itself comes to its end.
    """

    #: Whether rows are numbered as they stand in the source.
    in_order: ClassVar[bool]

    def __init__(
        self, deployment: Deployment, rows: Sequence[SourceRow], judge: Judge, model: str | None
    ) -> None:
        self.deployment = deployment
        self.form = deployment.form
        self.rows = rows
        self._judge = judge
        self._model = model
        #: What producers have said on their way out.
        self.said = ""
        self.producer: subprocess.Popen[str] | None = None
        self._struck: tuple[float, int] | None = None

    @abstractmethod
    def start_producer(self, **settings: str) -> subprocess.Popen[str]:
        """Start the command that reads the source; the same command each time."""

    @abstractmethod
    def numbers(self) -> list[int]:
        """Return the numbers, in the ledger, of the jobs that have read of the source."""

    @abstractmethod
    def is_exhausted(self) -> bool:
        """Whether the source is read to its end."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until all rows are done and the producer has left in order."""

    def options(self) -> list[str]:
        """Return what every producer of it is told beside the source."""
        form = self.form
        options = ["--chunk-rows", str(form.chunk_rows), "--max-queued", str(form.max_open)]
        return options if self._model is None else [*options, "--model", self._model]

    def begin(self, **settings: str) -> None:
        """Start the producer, and wait until the job is there."""
        self.producer = self.start_producer(**settings)
        wait_until(self.numbers, 120, "the job is in the ledger")

    def again(self) -> None:
        """Give the same command again, as who finds it dead does."""
        assert self.producer is None, "the producer before it was waited for"
        self.producer = self.start_producer()

    def producer_ends(self, seconds: float) -> int:
        """Wait until the producer has left; return its exit status."""
        out, err, status = self.wait_for_producer(seconds)
        self.said += out + err
        return status

    def wait_for_producer(self, seconds: float) -> tuple[str, str, int]:
        """Return what the producer wrote on stdout and stderr, and its exit status."""
        assert self.producer is not None, "a producer was started"
        try:
            out, err = self.producer.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the producer is still there after {seconds:.0f} s; {self.open_rows()} rows are open"
            ) from None
        status = self.producer.returncode
        self.producer = None
        return out, err, status

    def wait_until_under_way(self) -> None:
        """Return when some of its rows are done."""
        enough = len(self.rows) * _BEGUN_SHARE
        wait_until(lambda: self.done_rows() >= enough, self.form.patience, "rows are done")

    # What stands in the ledger.

    @property
    def number(self) -> int:
        """The number of its one job."""
        (number,) = self.numbers()
        return number

    def where(self) -> str:
        """Return the condition that a row of the ledger is of this source."""
        return f"job_id IN ({', '.join(map(str, self.numbers())) or 'NULL'})"

    def done_rows(self) -> int:
        """Return how many rows are labelled or rejected."""
        where = self.where()
        query = (
            f"SELECT (SELECT count(*) FROM labeled_texts WHERE {where})"
            f" + (SELECT count(*) FROM rejects WHERE {where})"
        )
        return int(self.deployment.value(query))

    def open_rows(self) -> int:
        """Return how many rows of the source are in no place yet."""
        return len(self.rows) - self.done_rows()

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

    def last_errors(self, numbers: Collection[int]) -> set[str | None]:
        """Return why some chunks were taken back last."""
        marks = ", ".join(map(str, numbers))
        query = f"SELECT last_error FROM chunks WHERE {self.where()} AND number IN ({marks})"
        return {row.last_error for row in self.deployment.rows(query)}

    def chunks(self) -> int:
        """Return how many chunks its rows were cut into."""
        return int(self.deployment.value(f"SELECT count(*) FROM chunks WHERE {self.where()}"))

    def claims(self) -> int:
        """Return how often chunks were claimed so far."""
        query = f"SELECT coalesce(sum(claims), 0) FROM chunks WHERE {self.where()}"
        return int(self.deployment.value(query))

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
        """Return what is wrong with the rows after the end; nothing if all is right."""
        return differences(
            self.deployment.cluster.store,
            self.numbers(),
            self.rows,
            self._judge,
            versions,
            in_order=self.in_order,
        )
