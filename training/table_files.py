"""Rows of a CSV, TSV, JSONL or Parquet file as mappings, each with its place."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.errors import UsageError

#: Delimiters tried on the header of a .csv file, in this order.
CSV_DELIMITERS = (",", ";", "\t", "|")

#: The suffixes that are read as tables.
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class NeededColumns:
    """Which columns a table must have: what tells it, and how that is said to a person."""

    #: Whether these column names are enough.
    suffice: Callable[[Collection[str]], bool]
    #: Such as `the columns text and label`.
    said: str
    #: The columns that are read; others are left alone.
    read: tuple[str, ...]


#: A row's place (line, or row of a Parquet file, from 1), and its cells by column name.
Record = tuple[int, Mapping[str, Any]]


def read_records(path: Path, needed: NeededColumns) -> Iterator[Record]:
    """Read a table by its suffix (one of `TABLE_SUFFIXES`).

    Cells of CSV and TSV are text; of JSONL and Parquet what the file has. Raises UsageError,
    naming file and line, for what is no such table or lacks a needed column.
    """
    try:
        match path.suffix.lower():
            case ".csv":
                yield from _delimited(path, CSV_DELIMITERS, needed)
            case ".tsv":
                yield from _delimited(path, ("\t",), needed)
            case ".jsonl":
                yield from _json_lines(path, needed)
            case ".parquet":
                yield from _parquet(path, needed)
            case _:
                endings = ", ".join(TABLE_SUFFIXES)
                raise UsageError(f"{path} is none of {endings}: give it the ending of what it is")
    except OSError as error:
        raise cannot_read(path, error) from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def decoded(path: Path) -> str:
    """Return the text of a UTF-8 file, without its byte order mark."""
    return path.read_text(encoding="utf-8-sig")


def cannot_read(path: Path, error: OSError) -> UsageError:
    """Return the error for a file that the system refuses to give."""
    return UsageError(f"cannot read {path}: {error.strerror or error}")


def not_utf8(path: Path) -> UsageError:
    """Return the error for a file that is no UTF-8."""
    return UsageError(f"{path} is not UTF-8 text: convert it, or check its suffix")


def parquet_schema(path: Path) -> Any:
    """Return the Arrow schema of a Parquet file; raises UsageError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except pa.ArrowInvalid:
        raise UsageError(f"{path} is no valid Parquet file") from None
    except OSError as error:
        raise cannot_read(path, error) from None


def _delimited(path: Path, delimiters: tuple[str, ...], needed: NeededColumns) -> Iterator[Record]:
    content = decoded(path)
    first_line = content.split("\n", 1)[0]
    for delimiter in delimiters:
        header = [name.strip() for name in next(csv.reader([first_line], delimiter=delimiter), [])]
        if needed.suffice(header):
            break
    else:
        raise _missing_columns(path, next(csv.reader([first_line]), []), needed)
    columns = [(name, header.index(name)) for name in needed.read if name in header]
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise UsageError(
                    f"{path} line {reader.line_num} has {len(fields)} fields, "
                    f"the header {len(header)}: quote fields that hold the delimiter"
                )
            yield reader.line_num, {name: fields[place] for name, place in columns}
    except csv.Error as error:
        raise UsageError(f"{path} line {reader.line_num} is no valid CSV: {error}") from None


def _json_lines(path: Path, needed: NeededColumns) -> Iterator[Record]:
    import orjson

    # split("\n"), not splitlines(): a text may hold form feeds or line separators of its own.
    for number, line in enumerate(decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise UsageError(f"{path} line {number} is no valid JSON") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path} line {number} is no JSON object with {needed.said}")
        if not needed.suffice(row.keys()):
            raise _missing_columns(path, row, needed, f" line {number}")
        yield number, {name: row[name] for name in needed.read if name in row}


def _parquet(path: Path, needed: NeededColumns) -> Iterator[Record]:
    import pyarrow.parquet as pq

    names = parquet_schema(path).names
    if not needed.suffice(names):
        raise _missing_columns(path, names, needed)
    columns = [name for name in needed.read if name in names]
    with pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(columns=columns):
            cells = [batch.column(name).to_pylist() for name in columns]
            for row in zip(*cells, strict=True):
                number += 1
                yield number, dict(zip(columns, row, strict=True))


def _missing_columns(
    path: Path, columns: Iterable[object], needed: NeededColumns, where: str = ""
) -> UsageError:
    found = ", ".join(str(column)[:40] for column in list(columns)[:20]) or "none"
    return UsageError(f"{path}{where} needs {needed.said}, it has: {found}")
