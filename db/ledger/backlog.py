"""What waits in the ledger at this moment, queue by queue, for whoever watches from outside."""

from dataclasses import dataclass

from sqlalchemy import func, or_, select

from db.clock import db_now
from db.ledger.ending import OPEN_STATES
from db.schema import Chunk, Job
from db.store import Store


@dataclass(frozen=True)
class QueueBacklog:
    """The open chunks of one queue."""

    queue: str
    #: Chunks that wait for a worker, and chunks that one holds.
    queued: int
    leased: int
    #: Seconds since the oldest of them was entered, by the database's clock.
    lag_seconds: float


@dataclass(frozen=True)
class Backlog:
    """What is not done yet."""

    running_jobs: int
    #: One for each queue that has a running job or an open chunk, by name.
    queues: tuple[QueueBacklog, ...]


def backlog(store: Store) -> Backlog:
    """Return what waits, of all jobs."""
    jobs = select(Job.queue, func.count()).where(Job.state == "running").group_by(Job.queue)
    # What is queued of a job that was cancelled or has failed, nobody will ever label.
    is_awaited = or_(Chunk.state == "leased", Job.state == "running")
    chunks = (
        select(Chunk.queue, Chunk.state, func.count(), func.min(Chunk.queued_at))
        .join(Job, Job.id == Chunk.job_id)
        .where(Chunk.state.in_(OPEN_STATES), is_awaited)
        .group_by(Chunk.queue, Chunk.state)
    )
    with store.read() as connection:
        now = connection.scalar(select(db_now()))
        running = {queue: int(count) for queue, count in connection.execute(jobs)}
        found = connection.execute(chunks).all()
    assert now is not None  # noqa: S101
    queues = []
    for name in sorted(running | {queue: 0 for queue, *_ in found}):
        counts = {state: int(count) for queue, state, count, _ in found if queue == name}
        oldest = min((since for queue, *_, since in found if queue == name), default=now)
        queues.append(
            QueueBacklog(
                name,
                counts.get("queued", 0),
                counts.get("leased", 0),
                max((now - oldest).total_seconds(), 0.0),
            )
        )
    return Backlog(sum(running.values()), tuple(queues))
