"""The jobs of the ledger, the newest first, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from db.schema import Chunk, Job
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
    stream: str | None
    source_exhausted: bool
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    rows: int
    labeled: int
    rejected: int
    open_chunks: int

    @property
    def done_share(self) -> float:
        """The share of the rows read that are in a table."""
        return (self.labeled + self.rejected) / self.rows if self.rows else 0.0


def list_jobs(
    store: Store, *, before: int | None = None, limit: int = PAGE_JOBS
) -> list[ListedJob]:
    """Return up to `limit` jobs whose number is below `before`; dry runs and purged jobs are left out."""
    which = [] if before is None else [Job.id < before]
    return _jobs(store, limit, Job.state != "purged", *which)


def running_jobs(store: Store, limit: int = PAGE_JOBS) -> list[ListedJob]:
    """Return the jobs that run, the newest first."""
    return _jobs(store, limit, Job.state == "running")


def _jobs(store: Store, limit: int, *which: ColumnElement[bool]) -> list[ListedJob]:
    jobs = (
        select(
            Job.id,
            Job.source,
            Job.model_ref,
            Job.state,
            Job.stream,
            Job.source_exhausted,
            Job.error,
            Job.created_at,
            Job.finished_at,
        )
        .where(Job.hidden.is_(False), *which)
        .order_by(Job.id.desc())
        .limit(limit)
    )
    with store.read() as connection:
        found = connection.execute(jobs).all()
        sums = (
            select(
                Chunk.job_id,
                func.coalesce(func.sum(Chunk.row_count).filter(Chunk.parent_number.is_(None)), 0),
                func.coalesce(func.sum(Chunk.labeled), 0),
                func.coalesce(func.sum(Chunk.rejected_parsed + Chunk.rejected_worker), 0),
                func.count().filter(Chunk.done_at.is_(None), Chunk.state != "split"),
            )
            .where(Chunk.job_id.in_([job.id for job in found]))
            .group_by(Chunk.job_id)
        )
        counts: dict[int, Sequence[int]] = {
            row[0]: [int(value) for value in row[1:]] for row in connection.execute(sums)
        }
    return [ListedJob(*job, *counts.get(job.id, (0, 0, 0, 0))) for job in found]
