"""A fault as the table has it: how it strikes a job, and what shows afterwards that it did."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.faults.counting import Judge, SourceRow
from tests.faults.deployment import Deployment
from tests.faults.file_job import FileJob
from tests.faults.jobs import Job, Tenure


class Fault(ABC):
    """One thing that dies. An instance goes through one job."""

    name: ClassVar[str]
    databases: ClassVar[tuple[str, ...]] = ("sqlite", "postgresql")
    #: Whether it needs the proxies between processes and servers.
    proxied: ClassVar[bool] = False
    #: Model that the job asks for, where it is not the starter; its versions.
    model: ClassVar[str | None] = None
    versions: ClassVar[frozenset[int]] = frozenset({1})
    #: Whether it strikes as soon as the job has begun, without being told.
    strikes_by_itself: ClassVar[bool] = False
    #: Environment of the first producer.
    settings: ClassVar[Mapping[str, str]] = {}
    #: Seconds from the fault to the end that are allowed beyond the work itself, if the promise
    #: names any.
    beyond_work: ClassVar[float | None] = None

    def prepare(self, deployment: Deployment) -> None:  # noqa: B027  (few have anything to do)
        """Bring in what the job needs before it begins."""

    def new_job(self, deployment: Deployment, rows: Sequence[SourceRow], judge: Judge) -> Job:
        """Return the job that it strikes, not yet begun."""
        return FileJob(deployment, self.name, rows, judge, self.model)

    @abstractmethod
    def strike(self, job: Job) -> None:
        """Assert from the ledger that there is something to lose, and do it.

        Returns when everything is in order again that the job cannot mend itself.
        """

    @abstractmethod
    def bit(self, job: Job) -> str:
        """Assert after the job's end that the fault was one, and tell in a few words how."""


def taken_anew(job: Job, held: Mapping[int, Tenure]) -> str:
    """Assert that chunks which were held under some claim were claimed again by another."""
    now = job.tenures(held)
    for number, before in held.items():
        after = now[number]
        assert after.claims > before.claims, f"chunk {number} was never claimed again"
        assert after.token != before.token, f"chunk {number} was closed under the old token"
    return f"{len(held)} held chunks claimed anew, by other tokens"
