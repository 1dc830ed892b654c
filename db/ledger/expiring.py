"""Leases that are over: their time ran out, or the process that held them is gone."""

import logging
from collections.abc import Sequence

from sqlalchemy import ColumnElement, select, tuple_, update
from sqlalchemy.exc import DBAPIError

from db.clock import db_now
from db.ledger.dividing import REQUEUED, LostAlone, strike
from db.ledger.workers import forget_gone, gone_workers
from db.schema import Chunk
from db.store import Store, error_kind, may_pass

log = logging.getLogger(__name__)


def expire_run_out(store: Store) -> int:
    """Take back every chunk whose lease has run out; return how many."""
    return _expire(store, Chunk.lease_until < db_now(), "lease ran out")


def expire_gone(store: Store) -> int:
    """Take back every chunk of workers of this machine whose process is gone; return how many.

    Their leases are not waited for. Such a worker is forgotten when it holds nothing any more.
    """
    gone = gone_workers(store)
    if not gone:
        return 0
    expired = _expire(store, Chunk.worker.in_(gone), "its process is gone")
    _send_suspects_again(store)
    forget_gone(store, gone)
    return expired


def _send_suspects_again(store: Store) -> None:
    """Take the messages of all suspect chunks for lost.

    A worker that is gone took messages along whose chunks it had not claimed; which, nobody knows.
    Suspects are few, and it is they that wait in a process for their turn while it dies of another;
    one message too many does no harm.
    """
    suspects = (
        select(Chunk.job_id, Chunk.number)
        .where(Chunk.state == "queued", Chunk.suspect.is_(True))
        # One that is being claimed at this moment needs no message.
        .with_for_update(key_share=True, skip_locked=True)
    )
    with store.write() as connection:
        connection.execute(
            update(Chunk)
            .where(tuple_(Chunk.job_id, Chunk.number).in_(suspects))
            .values(sent_at=None)
        )


def _expire(store: Store, lost: ColumnElement[bool], why: str) -> int:
    """Take back the leased chunks of which `lost` is true; it is asked again behind the lock."""
    expired = _queue_again(store, lost, why)
    for chunk in _lost_alone(store, lost):
        try:
            expired += strike(store, chunk, lost, why)
        except Exception as error:  # noqa: BLE001  (one chunk must not keep the others waiting)
            passes = isinstance(error, DBAPIError) and may_pass(error)
            log.log(
                logging.DEBUG if passes else logging.ERROR,
                "job %s chunk %s could not be taken back (%s); the next sweep tries again",
                chunk.job,
                chunk.number,
                error_kind(error) if isinstance(error, DBAPIError) else type(error).__name__,
            )
    return expired


def _queue_again(store: Store, lost: ColumnElement[bool], why: str) -> int:
    """Queue, under suspicion, what was lost beside other chunks: nobody knows whose fault it was."""
    beside_others = (
        select(Chunk.job_id, Chunk.number)
        .where(Chunk.state == "leased", Chunk.claimed_alone.is_(False), lost)
        # One that is being closed at this moment is not waited for: its worker may be frozen in
        # the middle, and the others must not wait with it.
        .with_for_update(key_share=True, skip_locked=True)
    )
    with store.write() as connection:
        expired = connection.execute(
            update(Chunk)
            .where(tuple_(Chunk.job_id, Chunk.number).in_(beside_others))
            .values(**REQUEUED, last_error=why)
            .returning(Chunk.job_id, Chunk.number, Chunk.worker)
        ).all()
    for row in expired:
        log.warning(
            "%s: job %s chunk %s of worker %s is queued again",
            why,
            row.job_id,
            row.number,
            row.worker,
        )
    return len(expired)


def _lost_alone(store: Store, lost: ColumnElement[bool]) -> Sequence[LostAlone]:
    query = (
        select(Chunk.job_id, Chunk.number, Chunk.lease_token)
        .where(Chunk.state == "leased", Chunk.claimed_alone.is_(True), lost)
        .order_by(Chunk.job_id, Chunk.number)
    )
    with store.read() as connection:
        # One whose token went meanwhile is leased no more.
        return [
            LostAlone(row.job_id, row.number, row.lease_token)
            for row in connection.execute(query)
            if row.lease_token is not None
        ]
