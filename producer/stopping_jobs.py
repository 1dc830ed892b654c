"""`producer purge` and `producer cancel`: what each would touch, and what it did."""

from dataclasses import dataclass

from sqlalchemy import func, select

from db.errors import UsageError
from db.ledger.jobs import JobRecord, get_job
from db.ledger.stopping import cancel, purge
from db.schema import Chunk, Correction, LabeledText, Reject
from db.scrubbing import scrub
from db.store import Store

#: Seconds for which a command at a terminal tries again while the database is busy or away.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Held:
    """What a purge would delete."""

    job: JobRecord
    labeled: int
    rejects: int
    corrections: int


@dataclass(frozen=True)
class Cancelled:
    """How a job stood when it was cancelled."""

    job: int
    labeled: int
    rejected: int
    #: Rows that workers hold, which may still land.
    held: int
    #: Rows in the ledger that nobody will label.
    dropped: int


def cancel_job(store: Store, job_id: int) -> Cancelled:
    """Cancel a running job.

    Raises `UsageError` if there is no such job, or if it runs no longer.
    """
    job = get_job(store, job_id)
    cancelled = store.retrying(lambda: cancel(store, job_id), seconds=_PATIENCE_SECONDS)
    if not cancelled:
        state = get_job(store, job_id).state if job.state == "running" else job.state
        raise UsageError(
            f"job {job_id} is {state} already, there is nothing to cancel; "
            f"see: producer status {job_id}"
        )
    alive = Chunk.row_count - Chunk.rejected_parsed
    query = select(
        func.coalesce(func.sum(Chunk.labeled), 0),
        func.coalesce(func.sum(Chunk.rejected_parsed + Chunk.rejected_worker), 0),
        func.coalesce(func.sum(alive).filter(Chunk.state == "leased"), 0),
        func.coalesce(func.sum(alive).filter(Chunk.state == "queued"), 0),
    ).where(Chunk.job_id == job_id)
    with store.read() as connection:
        counts = connection.execute(query).one()
    return Cancelled(job_id, *(int(count) for count in counts))


def held_by(store: Store, job_id: int) -> Held:
    """Return what purging a job would delete.

    Raises `UsageError` if there is no such job, or if it runs.
    """
    job = get_job(store, job_id)
    if job.state == "running":
        raise UsageError(f"job {job_id} is running; first: producer cancel {job_id}")
    with store.read() as connection:
        counts = [
            connection.execute(
                select(func.count()).select_from(table).where(table.job_id == job_id)
            ).scalar_one()
            for table in (LabeledText, Reject, Correction)
        ]
    return Held(job, *counts)


def purge_job(store: Store, job_id: int) -> None:
    """Delete a job's texts, rows, rejects and corrections; in SQLite also their bytes.

    Raises what `purge` and `scrub` raise; after an error of the latter it may be run again.
    """
    store.retrying(lambda: purge(store, job_id), seconds=_PATIENCE_SECONDS)
    scrub(store)
