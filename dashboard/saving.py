"""The rows of a job as a file, made while it is sent: as large as it may be, a part is in memory."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq

from dashboard.figures.rows import Row
from db.spreadsheet import safe_cell

_NAMES = [field.name for field in fields(Row)]

_SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "external_id": pa.string(),
        "text": pa.string(),
        "truncated": pa.bool_(),
        "label": pa.string(),
        "confidence": pa.float64(),
        "unsure": pa.bool_(),
        "model": pa.string(),
        "model_version": pa.int32(),
        "engine": pa.string(),
        "labeled_at": pa.timestamp("us", tz="UTC"),
    }
)


def csv_parts(pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """Yield the rows as CSV in UTF-8; what a spreadsheet would take for a formula is text in it."""
    yield _written([_NAMES])
    for rows in pages:
        yield _written(
            [
                [
                    safe_cell(value) if isinstance(value, str) else value
                    for value in (getattr(row, name) for name in _NAMES)
                ]
                for row in rows
            ]
        )


def _written(lines: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue().encode()


def parquet_parts(pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """Yield the rows as Parquet."""
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), _SCHEMA) as writer:
        for rows in pages:
            columns = {name: [getattr(row, name) for row in rows] for name in _NAMES}
            writer.write_table(pa.table(columns, schema=_SCHEMA))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, part: object) -> int:
        content = bytes(memoryview(part))  # type: ignore[arg-type]
        self._parts.append(content)
        self._written += len(content)
        return len(content)

    def tell(self) -> int:
        return self._written

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content
