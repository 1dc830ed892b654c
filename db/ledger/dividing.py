"""The poison rule: what was alone when its lease was lost gets a strike, is halved, at last rejected."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from db.clock import db_now
from db.defaults import ROW_STRIKES
from db.ledger.ending import end_if_complete
from db.ledger.payload import ChunkRows, pack, unpack
from db.schema import Chunk, Job, Reject
from db.store import Store
from db.text import escaped_raw

log = logging.getLogger(__name__)

#: Why such a row is a reject.
REASON = "ended or blocked the worker process twice"

#: What becomes of a leased chunk that is queued again; it runs alone from now on.
REQUEUED: Mapping[str, Any] = MappingProxyType(
    {
        "state": "queued",
        "suspect": True,
        "lease_token": None,
        "lease_until": None,
        "claimed_at": None,
        "sent_at": None,
    }
)

#: What a chunk that is over has no more.
_OVER: Mapping[str, Any] = MappingProxyType(
    {"payload": None, "lease_token": None, "lease_until": None}
)

#: Milliseconds that are waited for a job's row on PostgreSQL: whoever holds it may be frozen.
_LOCK_WAIT_MS = 1000


@dataclass(frozen=True, slots=True)
class LostAlone:
    """A chunk whose lease was lost while its process held no other."""

    job: int
    number: int
    token: str


def strike(store: Store, lost: LostAlone, still: ColumnElement[bool], why: str) -> bool:
    """Charge a chunk that was alone when its lease was lost; False if the fence refuses.

    In one transaction, if the chunk is still leased under the same token and `still` holds: one of
    several rows is halved, one row alone is queued again, and with its second strike rejected. The
    chunk of a job that runs no longer is only queued, as nobody will claim it. Raises the
    database's error, which passes, when the job's row is not to be had in time.
    """
    with store.write() as connection:
        if store.dialect == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}")
        # The job first, then the chunk: whoever needs both takes them in this order.
        job = connection.execute(
            select(Job.state, Job.store_text)
            .where(Job.id == lost.job)
            .with_for_update(key_share=True)
        ).one()
        chunk = connection.execute(
            select(Chunk.__table__)
            .where(
                Chunk.job_id == lost.job,
                Chunk.number == lost.number,
                Chunk.state == "leased",
                Chunk.lease_token == lost.token,
                still,
            )
            # One that is being closed at this moment is not waited for.
            .with_for_update(key_share=True, skip_locked=True)
        ).first()
        if chunk is None:
            return False
        what, rejected = _judge(connection, job, chunk, why)
    log.warning(
        "%s: job %s chunk %s, alone in worker %s, %s",
        why,
        lost.job,
        lost.number,
        chunk.worker,
        what,
    )
    if rejected:
        # It may have been the job's last; of halves no job ends.
        end_if_complete(store, lost.job)
    return True


def _judge(
    connection: Connection, job: Row[str, bool], chunk: Row[Any], why: str
) -> tuple[str, bool]:
    """Do what is due to a locked chunk; return it in words, and whether a row was rejected."""
    if job.state != "running":
        _set(connection, chunk, **REQUEUED, last_error=why)
        return f"is not charged: its job is {job.state}", False
    strikes = chunk.strikes + 1
    if chunk.row_count - chunk.rejected_parsed > 1:
        first, second = _halve(connection, chunk)
        _set(connection, chunk, **_OVER, state="split", strikes=strikes, last_error=why)
        return f"is divided into chunks {first} and {second}", False
    if strikes < ROW_STRIKES:
        _set(connection, chunk, **REQUEUED, strikes=strikes, last_error=why)
        return "is one row, and is tried once more", False
    number = _reject(connection, chunk, job.store_text)
    _set(
        connection,
        chunk,
        **_OVER,
        state="done",
        strikes=strikes,
        last_error=why,
        rejected_worker=1,
        done_at=db_now(),
    )
    return f"is one row, number {number}, and is rejected", True


def _halve(connection: Connection, chunk: Row[Any]) -> tuple[int, int]:
    """Insert two chunks with half the rows each, as they are; return their numbers."""
    rows = unpack(chunk.payload)
    middle = len(rows) // 2
    following = connection.execute(
        update(Job)
        .where(Job.id == chunk.job_id)
        .values(next_chunk=Job.next_chunk + 2)
        .returning(Job.next_chunk)
    ).scalar_one()
    numbers = (following - 2, following - 1)
    parts = (_part(rows, 0, middle), _part(rows, middle, len(rows)))
    connection.execute(
        insert(Chunk),
        [
            {
                "job_id": chunk.job_id,
                "number": number,
                "parent_number": chunk.number,
                "row_count": len(part),
                "state": "queued",
                "queue": chunk.queue,
                # The age of its rows is not that of the chunk.
                "queued_at": chunk.queued_at,
                "suspect": True,
                "payload": pack(part),
            }
            for number, part in zip(numbers, parts, strict=True)
        ],
    )
    return numbers


def _part(rows: ChunkRows, start: int, stop: int) -> ChunkRows:
    return ChunkRows(
        rows.row_numbers[start:stop],
        rows.texts[start:stop],
        rows.external_ids[start:stop],
        None if rows.extra is None else rows.extra[start:stop],
    )


def _reject(connection: Connection, chunk: Row[Any], store_text: bool) -> int:
    rows = unpack(chunk.payload)
    connection.execute(
        insert(Reject).values(
            job_id=chunk.job_id,
            row_number=rows.row_numbers[0],
            reason=REASON,
            raw=escaped_raw(rows.texts[0]) if store_text else None,
        )
    )
    return rows.row_numbers[0]


def _set(connection: Connection, chunk: Row[Any], **values: Any) -> None:
    connection.execute(
        update(Chunk)
        .where(Chunk.job_id == chunk.job_id, Chunk.number == chunk.number)
        .values(**values)
    )
