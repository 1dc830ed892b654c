"""How a source without an end flows: how far its labels are behind, and how fast they come now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from db.clock import db_now
from db.ledger.ending import OPEN_STATES
from db.schema import Chunk, Job
from db.store import Store

#: Seconds over which the rows a second are counted.
RATE_SECONDS = 60.0

#: Seconds for which a job must have run, for its rate not to be one of a moment.
_LEAST_SECONDS = 1.0

#: What tells the jobs of such sources from others.
_IS_STREAM = (Job.stream.is_not(None), Job.hidden.is_(False))


@dataclass(frozen=True)
class Flow:
    """How some jobs of one source flow at this moment, by the database's clock."""

    #: Seconds since the oldest row that waits for its label was entered; 0 while none waits.
    lag_seconds: float
    #: Rows that ended in a table, a second, over the last minute or since the first job began.
    rows_per_second: float


@dataclass(frozen=True)
class StreamTotals:
    """All jobs of one source without an end, of which at least one is running."""

    source: str
    #: stdin, follow, redis or task.
    stream: str
    #: Every job that has read from it, the newest first.
    jobs: tuple[int, ...]
    #: Those of them that a producer holds now.
    producers: int
    rows: int
    labeled: int
    rejected: int
    flow: Flow

    @property
    def waiting(self) -> int:
        """Rows that are in the ledger but in neither table yet."""
        return self.rows - self.labeled - self.rejected


def flow(store: Store, job_id: int) -> Flow:
    """Return how one job flows."""
    return _flow(store, Job.id == job_id)


def running_streams(store: Store) -> list[StreamTotals]:
    """Return the sources without an end from which a job runs now, the newest first."""
    running = (
        select(Job.source_identity)
        .where(Job.state == "running", *_IS_STREAM)
        .group_by(Job.source_identity)
        .order_by(func.max(Job.id).desc())
    )
    with store.read() as connection:
        identities = connection.scalars(running).all()
    return [_totals(store, identity) for identity in identities]


def _flow(store: Store, *which: ColumnElement[bool]) -> Flow:
    jobs = select(Job.id).where(*which)
    began = select(func.min(Job.created_at)).where(*which).scalar_subquery()
    oldest = select(func.min(Chunk.queued_at)).where(
        Chunk.job_id.in_(jobs), Chunk.state.in_(OPEN_STATES)
    )
    with store.read() as connection:
        now, first = connection.execute(select(db_now(), began)).one()
        waits_since = connection.scalar(oldest)
        finished = _finished_since(jobs, now - timedelta(seconds=RATE_SECONDS))
        rows = int(connection.execute(finished).scalar_one())
    age = RATE_SECONDS if first is None else (now - first).total_seconds()
    lag = 0.0 if waits_since is None else max((now - waits_since).total_seconds(), 0.0)
    seconds = min(max(age, _LEAST_SECONDS), RATE_SECONDS)
    return Flow(round(lag, 3), round(rows / seconds, 1))


def _finished_since(jobs: Select[Any], since: datetime) -> Select[Any]:
    # The time is a value: no index of PostgreSQL is asked for what its clock says at each row anew.
    rows = Chunk.labeled + Chunk.rejected_parsed + Chunk.rejected_worker
    return select(func.coalesce(func.sum(rows), 0)).where(
        Chunk.job_id.in_(jobs), Chunk.done_at > since
    )


def _totals(store: Store, source_identity: str) -> StreamTotals:
    same = (Job.source_identity == source_identity, *_IS_STREAM)
    jobs = (
        select(Job.id, Job.source, Job.stream, Job.producer_lease_until > db_now())
        .where(*same)
        .order_by(Job.id.desc())
    )
    counts = (
        select(
            func.coalesce(func.sum(Chunk.row_count).filter(Chunk.parent_number.is_(None)), 0),
            func.coalesce(func.sum(Chunk.labeled), 0),
            func.coalesce(func.sum(Chunk.rejected_parsed + Chunk.rejected_worker), 0),
        )
        .join(Job, Job.id == Chunk.job_id)
        .where(*same)
    )
    with store.read() as connection:
        found = connection.execute(jobs).all()
        rows, labeled, rejected = map(int, connection.execute(counts).one())
    _, source, stream, _ = found[0]
    return StreamTotals(
        source=source,
        stream=str(stream),
        jobs=tuple(row[0] for row in found),
        producers=sum(bool(row[3]) for row in found),
        rows=rows,
        labeled=labeled,
        rejected=rejected,
        flow=_flow(store, *same),
    )
