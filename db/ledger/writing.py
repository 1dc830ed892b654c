"""Labelled rows into `labeled_texts`: a chunk at once, by whatever is fastest on each database.

On SQLite a statement of many rows: the driver lets go of the interpreter's lock once a statement, and
of many short ones each would wait for the lock anew, with the database locked. On PostgreSQL COPY. It
takes no row that is there already: a chunk is closed once, so there is none, unless somebody else wrote
it; such a chunk goes row by row, as one does that has a row which cannot be stored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from db.copy_text import copy_text
from db.failures import error_kind, may_pass
from db.ledger.claiming import Claim
from db.ledger.results import ChunkResult, LabeledRows
from db.schema import LabeledText, table_of
from db.store import driver_cursor

#: The columns that all rows of a chunk have in common, and those in which they differ.
_SHARED = ("job_id", "id_scope", "model", "model_version", "engine", "labeled_at")
_OWN = (
    *("row_number", "external_id", "text_hash", "text", "truncated", "label"),
    *("confidence", "scores", "labels", "unsure", "extra"),
)
_COLUMNS = ", ".join(_SHARED + _OWN)

_KEY = tuple(column.name for column in table_of(LabeledText).primary_key)
_UPSERT = f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _SHARED + _OWN if name not in _KEY
)

#: Rows of a statement on SQLite. Each size is prepared once a connection, so there are few.
_BLOCKS = (256, 64, 16, 4, 1)

_TYPES = {
    **dict.fromkeys(("external_id", "text_hash", "text", "label"), "text"),
    **dict.fromkeys(("truncated", "unsure"), "boolean"),
    **dict.fromkeys(("scores", "labels", "extra"), "jsonb"),
    "row_number": "bigint",
    "confidence": "double precision",
}
_SHARED_TYPES = ("bigint", "text", "text", "integer", "text", "timestamptz")
#: How COPY takes each type.
_KINDS = {
    **dict.fromkeys(("text", "jsonb", "timestamptz"), "text"),
    **dict.fromkeys(("bigint", "integer", "double precision"), "number"),
    "boolean": "boolean",
}
_SHARED_KINDS = tuple(_KINDS[kind] for kind in _SHARED_TYPES)
_OWN_KINDS = tuple(_KINDS[_TYPES[name]] for name in _OWN)
_SHARED_VALUES = ", ".join(f"%s::{kind}" for kind in _SHARED_TYPES)
_COPY = f"COPY labeled_texts ({_COLUMNS}) FROM STDIN"
_ONE_ROW = (
    f"INSERT INTO labeled_texts ({_COLUMNS}) "  # noqa: S608  (names of this file)
    f"VALUES ({_SHARED_VALUES}, {', '.join(f'%s::{_TYPES[name]}' for name in _OWN)}) {_UPSERT}"
)

#: Writes rows; returns the kind of error of each that cannot be stored, by its row number.
Writer = Callable[[Connection, "Shared", LabeledRows], dict[int, str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all rows of a chunk have in common."""

    held: Claim
    result: ChunkResult
    labeled_at: datetime

    def values(self, dialect: str) -> tuple[Any, ...]:
        """Return it as the driver takes it, in the order of the columns."""
        at = self.labeled_at.astimezone(UTC)
        if dialect == "sqlite":
            at = at.replace(tzinfo=None)
        job, result = self.held.job, self.result
        return (
            job.id,
            job.id_scope,
            result.model,
            result.model_version,
            result.engine,
            at.isoformat(" ", "microseconds"),
        )


def write_at_once(connection: Connection, shared: Shared, labeled: LabeledRows) -> dict[int, str]:
    """Write all rows; raises `DBAPIError` if any cannot be written."""
    if len(labeled):
        dialect = connection.dialect.name
        write = _copy if dialect == "postgresql" else _write_blocks
        write(connection, shared.values(dialect), _columns(shared, labeled))
    return {}


def write_row_by_row(
    connection: Connection, shared: Shared, labeled: LabeledRows
) -> dict[int, str]:
    """Write each row in a savepoint of its own; return the kind of error by row number."""
    dialect = connection.dialect.name
    statement = _ONE_ROW if dialect == "postgresql" else _block(1, _OWN)
    common = shared.values(dialect)
    failures: dict[int, str] = {}
    rows = zip(*_columns(shared, labeled), strict=True)
    for number, row in zip(labeled.row_numbers, rows, strict=True):
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(statement, common + row)
        except DBAPIError as error:
            if may_pass(error):
                raise
            failures[number] = error_kind(error)
    return failures


def _columns(shared: Shared, labeled: LabeledRows) -> Sequence[Sequence[Any]]:
    texts: Sequence[str | None] = labeled.texts
    if not shared.held.job.store_text:
        texts = [None] * len(labeled)
    return (
        labeled.row_numbers,
        labeled.external_ids,
        labeled.text_hashes,
        texts,
        labeled.truncated,
        labeled.labels,
        labeled.confidences,
        labeled.scores,
        labeled.every_label,
        labeled.unsure,
        labeled.extra,
    )


def _write_blocks(
    connection: Connection, common: tuple[Any, ...], columns: Sequence[Sequence[Any]]
) -> None:
    """Write rows by statements of many.

    The driver takes eight times as long for None and for a truth value as for a number (0.45 us and
    0.05 us): it looks for somebody who adapts them. So truth values go as the numbers that SQLite
    keeps them as, and a column that has nothing stands in the statement itself.
    """
    names, values = [], []
    for name, column in zip(_OWN, columns, strict=True):
        if any(each is not None for each in column):
            names.append(name)
            values.append(list(map(int, column)) if _TYPES[name] == "boolean" else column)
    rows, width = len(columns[0]), len(names)
    flat: list[Any] = [None] * (rows * width)
    for place, column in enumerate(values):
        flat[place::width] = column
    start = 0
    for size in _sizes(rows):
        statement = _block(size, tuple(names))
        stop = start + size * width
        connection.exec_driver_sql(statement, (*common, *flat[start:stop]))
        start = stop


def _sizes(rows: int) -> Iterator[int]:
    """Divide `rows` among blocks."""
    for size in _BLOCKS:
        while rows >= size:
            yield size
            rows -= size


#: Of the columns that may have nothing there are sixteen choices.
@lru_cache(maxsize=len(_BLOCKS) * 16)
def _block(rows: int, own: tuple[str, ...]) -> str:
    """Return the statement for so many rows: the common values first, then each row's `own`."""
    common = ", ".join(f"?{place}" for place in range(1, len(_SHARED) + 1))
    places = iter(range(len(_SHARED) + 1, len(_SHARED) + rows * len(own) + 1))
    values = ", ".join(
        f"({common}, {', '.join(f'?{next(places)}' if name in own else 'NULL' for name in _OWN)})"
        for _ in range(rows)
    )
    return f"INSERT INTO labeled_texts ({_COLUMNS}) VALUES {values} {_UPSERT}"  # noqa: S608


def _copy(
    connection: Connection, common: tuple[Any, ...], columns: Sequence[Sequence[Any]]
) -> None:
    shared = zip(_SHARED_KINDS, common, strict=True)
    own = zip(_OWN_KINDS, columns, strict=True)
    with driver_cursor(connection, _COPY) as cursor, cursor.copy(_COPY) as copy:
        # Text is sent as the connection's encoding has it.
        copy.write(copy_text(list(shared), list(own)))
