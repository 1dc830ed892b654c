"""Closing a chunk: the fence first, then its rows, in one transaction."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from db.clock import db_now
from db.failures import error_kind, may_pass
from db.ledger.claiming import Claim, is_in_state
from db.ledger.ending import end_if_complete, may_be_complete
from db.ledger.results import ChunkResult, LabeledRows, WorkerReject
from db.ledger.writing import Shared, Writer, write_at_once, write_row_by_row
from db.schema import Chunk, Reject, table_of
from db.store import Store
from db.text import escaped_raw

log = logging.getLogger(__name__)

_CHUNKS = table_of(Chunk)
_REJECTS = table_of(Reject)

#: The fence. A lease that ran out but was not yet swept is still ours: the token alone decides.
_CLOSE = (
    update(_CHUNKS)
    .where(
        _CHUNKS.c.job_id == bindparam("of_job"),
        _CHUNKS.c.number == bindparam("of_number"),
        is_in_state("leased"),
        _CHUNKS.c.lease_token == bindparam("of_token"),
    )
    .values(
        state="done",
        labeled=bindparam("labeled"),
        rejected_worker=bindparam("rejected_worker"),
        model_version=bindparam("model_version"),
        engine=bindparam("engine"),
        tokens=bindparam("tokens"),
        busy_seconds=bindparam("busy_seconds"),
        payload=None,
        lease_until=None,
        done_at=db_now(),
    )
    .returning(_CHUNKS.c.done_at)
)


@dataclass(frozen=True, slots=True)
class Landed:
    """How many rows of a chunk that was closed are in which table."""

    labeled: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Closing:
    """What came of writing a chunk's results."""

    #: None if the lease was lost, and nothing was written.
    landed: Landed | None
    #: Whether the job may have no open chunk any more.
    may_be_last: bool = False


def write(store: Store, held: Claim, result: ChunkResult) -> Closing:
    """Write the results of a held chunk and close it, if the lease was not lost.

    Nothing at all is written when the fence refuses: so it does, too, where a first try was
    committed and its answer lost. An error of the database that may pass is raised for the caller
    to try again; any other makes the chunk be written row by row, and the row that fails becomes a
    reject.
    """
    try:
        return _close(store, held, result, write_at_once)
    except DBAPIError as error:
        if may_pass(error):
            raise
        log.warning(
            "job %s chunk %s: the database refused it as a whole (%s); row by row",
            held.job.id,
            held.number,
            error_kind(error),
        )
        return _close(store, held, result, write_row_by_row)


def end_after(store: Store, held: Claim, closing: Closing) -> None:
    """Look whether the chunk was the last one of its job, and end the job if so.

    Tried again by itself: were the closing tried again, its own fence would refuse it.
    """
    if closing.may_be_last:
        store.retrying(lambda: end_if_complete(store, held.job.id))


def _close(store: Store, held: Claim, result: ChunkResult, writer: Writer) -> Closing:
    with store.write() as connection:
        # From here on nobody else can close this chunk.
        closed_at = _set_done(connection, held, result)
        if closed_at is None:
            return Closing(None)
        failures = writer(connection, Shared(held, result, closed_at), result.labeled)
        rejects = [*result.rejected, *_not_storable(result.labeled, failures)]
        if rejects:
            connection.execute(_upsert_rejects(connection), _reject_values(held, rejects))
        if failures:
            _count_failures(connection, held, len(failures))
        landed = Landed(len(result.labeled) - len(failures), len(rejects))
        return Closing(landed, may_be_last=may_be_complete(connection, held.job.id))


def _set_done(connection: Connection, held: Claim, result: ChunkResult) -> datetime | None:
    """Close the chunk; return when, by the database's clock, or None if it is not ours."""
    closed_at: datetime | None = connection.scalar(
        _CLOSE,
        {
            "of_job": held.job.id,
            "of_number": held.number,
            "of_token": held.token,
            "labeled": len(result.labeled),
            "rejected_worker": len(result.rejected),
            "model_version": result.model_version,
            "engine": result.engine,
            "tokens": result.tokens,
            "busy_seconds": result.busy_seconds,
        },
    )
    return closed_at


def _count_failures(connection: Connection, held: Claim, failed: int) -> None:
    """Count rows that were thought to be labelled as rejects, in the transaction of the closing."""
    connection.execute(
        update(_CHUNKS)
        .where(_CHUNKS.c.job_id == held.job.id, _CHUNKS.c.number == held.number)
        .values(
            labeled=_CHUNKS.c.labeled - failed,
            rejected_worker=_CHUNKS.c.rejected_worker + failed,
        )
    )


def _not_storable(labeled: LabeledRows, failures: dict[int, str]) -> list[WorkerReject]:
    if not failures:
        return []
    raw = dict(zip(labeled.row_numbers, labeled.texts, strict=True))
    return [
        WorkerReject(number, f"not storable: {kind}", escaped_raw(raw[number]))
        for number, kind in failures.items()
    ]


def _reject_values(held: Claim, rejects: Sequence[WorkerReject]) -> list[dict[str, Any]]:
    keep_text = held.job.store_text
    return [
        {
            "job_id": held.job.id,
            "row_number": reject.row_number,
            "source_file": None,
            "line": None,
            "reason": reject.reason,
            "raw": reject.raw if keep_text else None,
        }
        for reject in rejects
    ]


def _upsert_rejects(connection: Connection) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(_REJECTS)
    keys = [column.name for column in _REJECTS.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: statement.excluded[column.name]
            for column in _REJECTS.columns
            if column.name not in keys
        },
    )
