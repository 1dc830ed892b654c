"""The end of a job: decided by whoever commits last, and looked at again by the sweeper."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, select, update

from db.clock import db_now
from db.schema import Chunk, Job, table_of
from db.store import Store

#: The states of a chunk whose rows are still on their way.
OPEN_STATES = ("queued", "leased")


_JOBS = table_of(Job)
_CHUNKS = table_of(Chunk)

_STATE = select(_JOBS.c.state, _JOBS.c.source_exhausted).where(_JOBS.c.id == bindparam("of_job"))

_LOCKED = (
    select(_JOBS.c.state, _JOBS.c.source_exhausted, _JOBS.c.source_error, _JOBS.c.options)
    .where(_JOBS.c.id == bindparam("of_job"))
    # FOR NO KEY UPDATE: plain FOR UPDATE deadlocks with the foreign keys' share locks.
    .with_for_update(key_share=True)
)

#: Whether the job has an open chunk.
_HAS_OPEN = select(
    exists().where(_CHUNKS.c.job_id == bindparam("of_job"), _CHUNKS.c.state.in_(OPEN_STATES))
)


def may_be_complete(connection: Connection, job_id: int) -> bool:
    """Whether the job is to be looked at after the commit of `connection`, which closes a chunk.

    On SQLite who writes writes alone: a source that is not exhausted now is exhausted after that
    commit, by somebody who looks then, and a chunk that is open now is closed after it, likewise.
    Elsewhere only a look after the commit tells.
    """
    if connection.dialect.name != "sqlite":
        return True
    return _look(connection, job_id)[1]


def end_if_complete(store: Store, job_id: int) -> str:
    """End the job if its source is exhausted and no chunk is open; return its state.

    Called after the commit of everything that may have been the last: in a transaction of its
    own, the job is locked first and the chunks are looked at in a statement begun after that, so
    that of two last closings at least one sees the other.
    """
    # No lock for what is nearly always so. Whoever exhausts the source later, or closes a chunk that
    # is open to this look, looks for itself, after its own commit, and sees what was committed
    # before this.
    with store.peek() as connection:
        state, is_complete = _look(connection, job_id)
    if state != "running" or not is_complete:
        return state
    with store.write() as connection:
        job = connection.execute(_LOCKED, {"of_job": job_id}).one()
        if job.state != "running" or not job.source_exhausted:
            return str(job.state)
        if connection.scalar(_HAS_OPEN, {"of_job": job_id}):
            return "running"
        error = job.source_error or _too_many_rejects(connection, job_id, job)
        state = "failed" if error else "done"
        connection.execute(
            update(Job)
            .where(Job.id == job_id)
            .values(
                state=state,
                error=error,
                finished_at=db_now(),
                producer_token=None,
                producer_lease_until=None,
            )
        )
        return state


def _look(connection: Connection, job_id: int) -> tuple[str, bool]:
    """Return the job's state, and whether nothing of it is to come or open."""
    state, exhausted = connection.execute(_STATE, {"of_job": job_id}).one()
    return str(state), bool(exhausted and not connection.scalar(_HAS_OPEN, {"of_job": job_id}))


def reject_limit(max_rejects: str | None, rows: int) -> float | None:
    """Return how many rejects `--max-rejects` allows among `rows`: `100`, or `2.5%` of them."""
    if max_rejects is None:
        return None
    if max_rejects.endswith("%"):
        return rows * float(max_rejects[:-1]) / 100
    return int(max_rejects)


def _too_many_rejects(
    connection: Connection, job_id: int, job: Row[Any, Any, Any, Any]
) -> str | None:
    max_rejects = job.options.get("max_rejects")
    if max_rejects is None:
        return None
    rows, rejected = connection.execute(
        select(
            func.coalesce(func.sum(Chunk.row_count).filter(Chunk.parent_number.is_(None)), 0),
            func.coalesce(func.sum(Chunk.rejected_parsed + Chunk.rejected_worker), 0),
        ).where(Chunk.job_id == job_id)
    ).one()
    limit = reject_limit(max_rejects, int(rows))
    if limit is None or rejected <= limit:
        return None
    return f"{rejected} of {rows} rows were rejected, more than --max-rejects {max_rejects}"
