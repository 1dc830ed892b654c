"""CSV, JSONL and Parquet: a page of rows becomes bytes, and no page is kept."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from db.spreadsheet import safe_cell

if TYPE_CHECKING:
    import pyarrow

Rows = Sequence[tuple[Any, ...]]


class ExportFormat(StrEnum):
    """How exported rows are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class RowWriter(Protocol):
    """Writes pages of rows to a stream of bytes."""

    def write(self, rows: Rows) -> None:
        """Write one page."""

    def finish(self) -> None:
        """Write what comes after the last page."""


def row_writer(format_: ExportFormat, stream: BinaryIO, names: Sequence[str]) -> RowWriter:
    """Return the writer of a format for rows with the columns `names`."""
    writers: dict[ExportFormat, Callable[[BinaryIO, Sequence[str]], RowWriter]] = {
        ExportFormat.CSV: CsvRows,
        ExportFormat.JSONL: JsonLines,
        ExportFormat.PARQUET: ParquetRows,
    }
    return writers[format_](stream, names)


class CsvRows:
    """CSV as in RFC 4180, UTF-8, with a header; formula-like cells get an apostrophe."""

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream = stream
        self.write([tuple(names)])

    def write(self, rows: Rows) -> None:
        """Write one page."""
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
        self._stream.write(text.getvalue().encode())

    def finish(self) -> None:
        """Nothing comes after the last row."""


class JsonLines:
    """One JSON object a row, every text as it is."""

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream = stream
        self._names = tuple(names)

    def write(self, rows: Rows) -> None:
        """Write one page."""
        import orjson

        self._stream.write(
            b"".join(
                orjson.dumps(
                    dict(zip(self._names, map(_ordered, row), strict=True)),
                    option=orjson.OPT_APPEND_NEWLINE,
                )
                for row in rows
            )
        )

    def finish(self) -> None:
        """Nothing comes after the last row."""


class ParquetRows:
    """Parquet: `scores` a map, `labeled_at` a UTC time, a page a row group.

    Kept columns are text, for their type may change from row to row: what is no text is JSON.
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        types = _parquet_types()
        kinds = [types.get(name, pyarrow.string()) for name in names]
        self._schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
        self._as_text = [kind == pyarrow.string() for kind in kinds]
        self._writer = pyarrow.parquet.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, rows: Rows) -> None:
        """Write one page as a row group."""
        import pyarrow

        columns = list(zip(*rows, strict=True))
        arrays = [
            pyarrow.array(map(_text, column) if as_text else map(_pairs, column), kind)
            for column, as_text, kind in zip(
                columns, self._as_text, self._schema.types, strict=True
            )
        ]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()


def _parquet_types() -> "dict[str, pyarrow.DataType]":
    import pyarrow

    return {
        "row_number": pyarrow.int64(),
        "confidence": pyarrow.float64(),
        "unsure": pyarrow.bool_(),
        "truncated": pyarrow.bool_(),
        "model_version": pyarrow.int32(),
        "labeled_at": pyarrow.timestamp("us", tz="UTC"),
        "scores": pyarrow.map_(pyarrow.string(), pyarrow.float64()),
        "labels": pyarrow.list_(pyarrow.string()),
    }


def _cell(value: Any) -> Any:
    """Return a cell of CSV; only texts can be formulas, numbers of ours are left alone."""
    if isinstance(value, str):
        return safe_cell(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return _json(value) if isinstance(value, dict | list) else value


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _json(value)


def _pairs(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else value


def _ordered(value: Any) -> Any:
    # PostgreSQL keeps the scores in an order of its own.
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def _json(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
