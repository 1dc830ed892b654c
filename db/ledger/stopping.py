"""Cancelling a job, and purging what it holds."""

from typing import Any

from sqlalchemy import delete, select, update

from db.clock import db_now
from db.errors import UsageError
from db.schema import Chunk, Correction, Job, LabeledText, Reject
from db.store import Store


def cancel(store: Store, job_id: int) -> bool:
    """Cancel a running job: nothing more of it is sent or claimed; False if it runs no longer.

    What a worker holds at this moment may still land.
    """
    with store.write() as connection:
        return bool(
            connection.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == "running")
                .values(
                    state="cancelled",
                    finished_at=db_now(),
                    producer_token=None,
                    producer_lease_until=None,
                )
            ).rowcount
        )


def purge(store: Store, job_id: int) -> None:
    """Delete every text, row, reject and correction of a job; its counts stay.

    One transaction, which voids the tokens of its chunks first, so that a worker that still holds
    one finds nothing to close. Raises `UsageError` for a job that runs, or that an unfinished
    relabel reads from.
    """
    with store.write() as connection:
        job = connection.execute(
            select(Job.state).where(Job.id == job_id).with_for_update(key_share=True)
        ).first()
        if job is None:
            raise UsageError(f"there is no job {job_id}; see: producer status")
        if job.state == "running":
            raise UsageError(f"job {job_id} is running; first: producer cancel {job_id}")
        reader = connection.scalar(
            select(Job.id).where(Job.parent_job == job_id, Job.state == "running").limit(1)
        )
        if reader is not None:
            raise UsageError(f"job {reader} relabels the texts of job {job_id}; wait or cancel it")
        connection.execute(
            update(Chunk)
            .where(Chunk.job_id == job_id, Chunk.state.in_(("queued", "leased")))
            .values(state="done", done_at=db_now(), rejected_worker=0, labeled=0)
        )
        connection.execute(
            update(Chunk)
            .where(Chunk.job_id == job_id)
            .values(payload=None, lease_token=None, lease_until=None)
        )
        for table in (Correction, Reject, LabeledText):
            connection.execute(_delete(table, job_id))
        connection.execute(
            update(Job)
            .where(Job.id == job_id)
            .values(state="purged", producer_token=None, producer_lease_until=None)
        )


def _delete(table: Any, job_id: int) -> Any:
    return delete(table).where(table.job_id == job_id)
