"""Closing a chunk: the fence first, then its rows, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from db.clock import db_now
from db.ledger.claiming import Claim
from db.ledger.ending import end_if_complete
from db.schema import Chunk, LabeledText, Reject
from db.store import Store, error_kind, may_pass
from db.text import escaped_raw


@dataclass(frozen=True, slots=True)
class LabeledRow:
    """What a model said of one row, and the row."""

    row_number: int
    external_id: str | None
    text: str | None
    text_hash: str
    truncated: bool
    label: str
    confidence: float
    scores: Mapping[str, float]
    labels: Sequence[str] | None
    unsure: bool
    extra: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class WorkerReject:
    """A row that the worker could not label; `raw` is escaped and at most 4 KB."""

    row_number: int
    reason: str
    raw: str | None


@dataclass(frozen=True)
class ChunkResult:
    """Everything that closing a chunk writes. All rows are of one version and one engine."""

    labeled: Sequence[LabeledRow]
    rejected: Sequence[WorkerReject]
    model: str
    model_version: int
    engine: str
    tokens: int
    busy_seconds: float


def close_chunk(store: Store, held: Claim, result: ChunkResult) -> bool:
    """Write the results of a held chunk and close it; False if the lease was lost.

    Nothing at all is written when the fence refuses. An error of the database that may pass is
    raised for the caller to try again; any other makes the chunk be written row by row, and the
    row that fails becomes a reject. Afterwards the job is looked at, for this may have been the
    last chunk.
    """
    try:
        closed = _close(store, held, result, _write_at_once)
    except DBAPIError as error:
        if may_pass(error):
            raise
        closed = _close(store, held, result, _write_row_by_row)
    if closed:
        # Tried again by itself: were the closing tried again, its own fence would refuse it.
        store.retrying(lambda: end_if_complete(store, held.job.id))
    return closed


Writer = Callable[[Connection, list[dict[str, Any]]], dict[int, str]]


def _close(store: Store, held: Claim, result: ChunkResult, write: Writer) -> bool:
    with store.write() as connection:
        # The fence: from here on nobody else can close this chunk.
        if not _set_done(connection, held, result, failed=0):
            return False
        failures = write(connection, _labeled_values(held, result))
        raw = {row.row_number: row.text for row in result.labeled}
        rejects = [*result.rejected]
        rejects += [
            WorkerReject(number, f"not storable: {kind}", escaped_raw(raw[number] or ""))
            for number, kind in failures.items()
        ]
        if rejects:
            connection.execute(_upsert(connection, Reject.__table__), _reject_values(held, rejects))
        if failures:
            _set_done(connection, held, result, failed=len(failures))
    return True


def _set_done(connection: Connection, held: Claim, result: ChunkResult, failed: int) -> bool:
    # The token stays, so that the counts can be set again in this transaction; a lease that ran
    # out but was not yet swept is still ours: the token alone decides.
    state = "done" if failed else "leased"
    return bool(
        connection.execute(
            update(Chunk)
            .where(
                Chunk.job_id == held.job.id,
                Chunk.number == held.number,
                Chunk.state == state,
                Chunk.lease_token == held.token,
            )
            .values(
                state="done",
                labeled=len(result.labeled) - failed,
                rejected_worker=len(result.rejected) + failed,
                model_version=result.model_version,
                engine=result.engine,
                tokens=result.tokens,
                busy_seconds=result.busy_seconds,
                payload=None,
                lease_until=None,
                done_at=db_now(),
            )
        ).rowcount
    )


def _labeled_values(held: Claim, result: ChunkResult) -> list[dict[str, Any]]:
    keep_text = held.job.store_text
    return [
        {
            "job_id": held.job.id,
            "row_number": row.row_number,
            "external_id": row.external_id,
            "id_scope": held.job.id_scope,
            "text_hash": row.text_hash,
            "text": row.text if keep_text else None,
            "truncated": row.truncated,
            "label": row.label,
            "confidence": row.confidence,
            "scores": dict(row.scores),
            "labels": None if row.labels is None else list(row.labels),
            "unsure": row.unsure,
            "model": result.model,
            "model_version": result.model_version,
            "engine": result.engine,
            "extra": row.extra,
        }
        for row in result.labeled
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


def _write_at_once(connection: Connection, values: list[dict[str, Any]]) -> dict[int, str]:
    if values:
        connection.execute(_upsert_labeled(connection), values)
    return {}


def _write_row_by_row(connection: Connection, values: list[dict[str, Any]]) -> dict[int, str]:
    """Write each row in a savepoint of its own; return the kind of error by row number."""
    statement = _upsert_labeled(connection)
    failures: dict[int, str] = {}
    for row in values:
        try:
            with connection.begin_nested():
                connection.execute(statement, row)
        except DBAPIError as error:
            if may_pass(error):
                raise
            failures[row["row_number"]] = error_kind(error)
    return failures


def _upsert_labeled(connection: Connection) -> Any:
    return _upsert(connection, LabeledText.__table__, labeled_at=db_now())


def _upsert(connection: Connection, table: Any, **fixed: Any) -> Any:
    assert isinstance(table, Table)  # noqa: S101
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**fixed)
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in keys
        },
    )
