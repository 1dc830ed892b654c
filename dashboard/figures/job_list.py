"""The jobs of the ledger, the newest first, a page at a time."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select

from dashboard.figures.kept_totals import KeptTotals
from db.schema import Job
from db.store import Store

#: Jobs of a page.
PAGE_JOBS = 50


@dataclass(frozen=True)
class ListedJob:
    """A job, and what it amounts to now."""

    id: int
    source: str
    model_ref: str
    state: str
    source_exhausted: bool
    created_at: datetime
    finished_at: datetime | None
    rows: int
    labeled: int
    rejected: int

    @property
    def done_share(self) -> float:
        """The share of the rows read that are in a table."""
        return (self.labeled + self.rejected) / self.rows if self.rows else 0.0


def list_jobs(
    store: Store,
    totals: KeptTotals | None = None,
    *,
    before: int | None = None,
    limit: int = PAGE_JOBS,
) -> list[ListedJob]:
    """Return up to `limit` jobs whose number is below `before`; dry runs and purged jobs are left out.

    Who lists jobs again and again gives the `totals` that are known already.
    """
    which = [] if before is None else [Job.id < before]
    return _jobs(store, totals or KeptTotals(store), limit, Job.state != "purged", *which)


def running_jobs(
    store: Store, totals: KeptTotals | None = None, limit: int = PAGE_JOBS
) -> list[ListedJob]:
    """Return the jobs that run, the newest first."""
    return _jobs(store, totals or KeptTotals(store), limit, Job.state == "running")


def _jobs(
    store: Store, totals: KeptTotals, limit: int, *which: ColumnElement[bool]
) -> list[ListedJob]:
    jobs = (
        select(
            Job.id,
            Job.source,
            Job.model_ref,
            Job.state,
            Job.source_exhausted,
            Job.created_at,
            Job.finished_at,
        )
        .where(Job.hidden.is_(False), *which)
        .order_by(Job.id.desc())
        .limit(limit)
    )
    with store.read() as connection:
        found = connection.execute(jobs).all()
    listed = []
    for job in found:
        counts = totals.of(job.id, job.state)
        listed.append(ListedJob(*job, counts.rows, counts.labeled, counts.rejected))
    return listed
