"""Parquet files, batch by batch; the only place of the reader that imports pyarrow."""

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from db.errors import UsageError, one_line
from db.row_rules import unstorable
from producer.columns import Columns, listed
from producer.encodings import find_encoding
from producer.formats.head import Head
from producer.formats.making import RowMaker, Value, invalid
from producer.formats.naming import Format
from producer.rows import Extra, RejectedRow, Row, SourceError
from producer.source_file import SourceFile

if TYPE_CHECKING:
    from pyarrow import Array, DataType, RecordBatch
    from pyarrow.parquet import ParquetFile

#: Bytes of a batch that is held, as far as the file says how long its rows are, and its rows.
_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 2048

#: Bytes that are read at once of a column's pages.
_BUFFER_BYTES = 1 << 18

#: Of a damaged file that can be read all the same.
_MISCOUNTED = "it has not the rows that it announces"

#: Stands for a string whose bytes are not UTF-8, which Parquet does not check.
_UNDECODABLE = object()


def parquet_head(source: SourceFile, format_: Format) -> Head:
    """Return what a Parquet file's schema says; raises `UsageError` if it has none."""
    with _opened(source) as file:
        schema = file.schema_arrow
        return Head(
            format=format_,
            encoding=find_encoding("utf-8"),
            names=tuple(schema.names),
            texts=tuple(field.name for field in schema if _is_string(field.type)),
        )


def check_types(source: SourceFile, columns: Columns) -> None:
    """Raise `UsageError` unless the text column holds strings, and the id column plain values."""
    from pyarrow import types

    with _opened(source) as file:
        schema = file.schema_arrow
        text = schema.field(columns.text).type
        if not _is_string(text):
            strings = [field.name for field in schema if _is_string(field.type)]
            advice = f"columns of strings: {listed(strings)}" if strings else "it has none that is"
            raise UsageError(
                f"{source.name}: column {columns.text!r} is {text}, not a string; {advice}"
            )
        if columns.id is not None:
            kind = schema.field(columns.id).type
            if types.is_nested(kind) or _is_binary(kind) or types.is_boolean(kind):
                raise UsageError(
                    f"{source.name}: id column {columns.id!r} is {kind}, "
                    "neither a string nor a number"
                )


class ParquetRows:
    """Reads the rows from `start` (rows of the file before it) on."""

    def __init__(self, source: SourceFile, columns: Columns, maker: RowMaker, start: int) -> None:
        self._source = source
        self._columns = columns
        self._maker = maker
        self._row = start
        self._rows = 0

    @property
    def consumed(self) -> int:
        """The share of the file that was read, in bytes."""
        return round((self._source.size or 0) * self._row / self._rows) if self._rows else 0

    def place(self) -> tuple[int, int]:
        """Return the number of rows before the next one, as offset and as line."""
        return self._row, self._row

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        with _opened(self._source) as file:
            self._rows = file.metadata.num_rows
            before = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                end = before + rows
                if end > self._row:
                    yield from self._group(file, group, self._row - before)
                    whole = self._row == end
                else:
                    whole = rows >= 0
                if not whole:
                    raise self._broken(_MISCOUNTED)
                before = end
            if before != self._rows:
                raise self._broken(_MISCOUNTED)

    def _group(self, file: "ParquetFile", group: int, skip: int) -> Iterator[Row | RejectedRow]:
        about = file.metadata.row_group(group)
        rows = _BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)
        batches = file.iter_batches(
            batch_size=max(1, min(rows, _BATCH_ROWS)),
            row_groups=[group],
            columns=list(self._columns.all),
            use_threads=False,
        )
        while (batch := self._next(batches)) is not None:
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            yield from self._made(batch.slice(skip))
            skip = 0

    def _next(self, batches: "Iterator[RecordBatch]") -> "RecordBatch | None":
        try:
            return next(batches, None)
        except Exception as error:  # noqa: BLE001  (pyarrow's and every driver's own kinds)
            raise self._broken(type(error).__name__) from None

    def _broken(self, reason: str) -> SourceError:
        return SourceError(
            f"{self._source.name} broke off after {self._row:,} rows: {reason}; "
            "what was read is kept"
        )

    def _made(self, batch: "RecordBatch") -> Iterator[Row | RejectedRow]:
        columns, maker = self._columns, self._maker
        texts = _values(batch.column(columns.text))
        ids = [None] * len(texts) if columns.id is None else _values(batch.column(columns.id))
        kept = [(name, _values(batch.column(name))) for name in columns.keep]
        for at, (text, identifier) in enumerate(zip(texts, ids, strict=True)):
            self._row += 1
            raw = text if isinstance(text, str) else ""
            extra: Extra = {name: _kept(values[at]) for name, values in kept} or None
            shown = None if identifier is None else _shown(identifier)
            reason = _reason(text, shown, extra, identifier)
            if reason is not None:
                yield maker.reject(self._row, reason, raw)
            else:
                yield maker.row(text, shown, extra, self._row, raw)


def _reason(text: Any, identifier: str | None, extra: Extra, raw_id: Any) -> str | None:
    if text is None:
        return "null text"
    strings = [text, identifier, raw_id, *(extra or {}).values()]
    if any(value is _UNDECODABLE for value in strings):
        return invalid("utf-8")
    for value in strings:
        reason = unstorable(value) if isinstance(value, str) else None
        if reason is not None:
            return reason
    return None


def _opened(source: SourceFile) -> "ParquetFile":
    from pyarrow.parquet import ParquetFile

    if source.size == 0:
        raise UsageError(f"{source.name} is empty; there is nothing to label")
    if source.remote and not source.seekable:
        raise UsageError(
            f"{source.name}: Parquet is read from its end, and the server sends no parts of files; "
            "download it first"
        )
    try:
        if source.remote:
            from producer.remote import open_remote

            return ParquetFile(open_remote(source), buffer_size=_BUFFER_BYTES)
        return ParquetFile(source.url, buffer_size=_BUFFER_BYTES)
    except Exception as error:  # noqa: BLE001  (pyarrow's and every driver's own kinds)
        reason = one_line(error) if not source.remote else type(error).__name__
        raise UsageError(f"{source.name} cannot be read as Parquet: {reason}") from None


def _values(column: "Array") -> list[Any]:
    """Return a column's values as Python's; dates, times and decimals as strings."""
    from pyarrow import string, types

    kind = column.type
    if types.is_temporal(kind) or types.is_decimal(kind):
        column = column.cast(string())
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(each) for each in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _UNDECODABLE


def _shown(identifier: Any) -> str:
    return identifier if isinstance(identifier, str) else str(identifier)


def _kept(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        # Not a number is what most writers put where nothing is.
        return None if math.isnan(value) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    plain: Value = value
    return plain


def _is_string(kind: "DataType") -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_binary(kind: "DataType") -> bool:
    from pyarrow import types

    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )
