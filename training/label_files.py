"""Read a file of labelled texts: CSV, TSV, JSONL, Parquet, or lines `text;label`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from db.errors import UsageError

TEXT_COLUMN = "text"
LABEL_COLUMN = "label"

#: Delimiters tried on the header of a .csv file, in this order.
CSV_DELIMITERS = (",", ";", "\t", "|")

#: The suffixes that are read, and that a folder's splits are looked for with.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One text with its label as the file has it, and where it stands (line or row, from 1)."""

    text: str
    label: object
    place: int


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The rows of one file, and the names of its label ids if the file declares them."""

    rows: tuple[LabelledRow, ...]
    names: tuple[str, ...] | None


def read_label_file(path: Path) -> LabelFile:
    """Read one label file by its suffix; anything unknown is read as lines `text;label`.

    Raises UsageError, naming file and line, for what cannot be read as text and label.
    """
    names = None
    try:
        match path.suffix.lower():
            case ".csv":
                rows = tuple(_delimited(path, CSV_DELIMITERS))
            case ".tsv":
                rows = tuple(_delimited(path, ("\t",)))
            case ".jsonl":
                rows = tuple(_json_lines(path))
            case ".parquet":
                rows, names = _parquet(path)
            case _:
                rows = tuple(_text_lines(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text: convert it, or check its suffix") from None
    return LabelFile(rows, names)


def _decoded(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")


def _text_lines(path: Path) -> Iterator[LabelledRow]:
    # split("\n"), not splitlines(): a text may hold form feeds or line separators of its own.
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        text, semicolon, label = line.rstrip("\r").rpartition(";")
        if not semicolon:
            raise UsageError(f"{path} line {number} has no semicolon: expected text;label")
        yield LabelledRow(text, label.strip(), number)


def _delimited(path: Path, delimiters: tuple[str, ...]) -> Iterator[LabelledRow]:
    content = _decoded(path)
    first_line = content.split("\n", 1)[0]
    header: list[str] = []
    for delimiter in delimiters:
        header = next(csv.reader([first_line], delimiter=delimiter), [])
        header = [name.strip() for name in header]
        if {TEXT_COLUMN, LABEL_COLUMN} <= set(header):
            break
    else:
        raise _missing_columns(path, next(csv.reader([first_line]), []))
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    text_at, label_at = header.index(TEXT_COLUMN), header.index(LABEL_COLUMN)
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise UsageError(
                    f"{path} line {reader.line_num} has {len(fields)} fields, "
                    f"the header {len(header)}: quote fields that hold the delimiter"
                )
            yield LabelledRow(fields[text_at], fields[label_at].strip(), reader.line_num)
    except csv.Error as error:
        raise UsageError(f"{path} line {reader.line_num} is no valid CSV: {error}") from None


def _json_lines(path: Path) -> Iterator[LabelledRow]:
    import orjson

    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise UsageError(f"{path} line {number} is no valid JSON") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path} line {number} is no JSON object with text and label")
        if not {TEXT_COLUMN, LABEL_COLUMN} <= row.keys():
            raise _missing_columns(path, row, f" line {number}")
        if not isinstance(row[TEXT_COLUMN], str):
            raise UsageError(f"{path} line {number}: text is no string")
        yield LabelledRow(row[TEXT_COLUMN], row[LABEL_COLUMN], number)


def _parquet(path: Path) -> tuple[tuple[LabelledRow, ...], tuple[str, ...] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if not {TEXT_COLUMN, LABEL_COLUMN} <= set(schema.names):
            raise _missing_columns(path, schema.names)
        table = pq.read_table(path, columns=[TEXT_COLUMN, LABEL_COLUMN])
    except pa.ArrowInvalid:
        raise UsageError(f"{path} is no valid Parquet file") from None
    texts = table.column(TEXT_COLUMN).to_pylist()
    labels = table.column(LABEL_COLUMN).to_pylist()
    rows = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        if text is not None and not isinstance(text, str):
            raise UsageError(f"{path}: column text holds {type(text).__name__}, not strings")
        rows.append(LabelledRow(text or "", label, number))
    return tuple(rows), _class_names(schema.metadata or {})


def _class_names(metadata: dict[bytes, bytes]) -> tuple[str, ...] | None:
    """Find the names of a ClassLabel feature, as the `datasets` library writes them into Parquet."""
    import orjson

    try:
        features = orjson.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[LABEL_COLUMN]["names"])
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return None


def _missing_columns(path: Path, columns: Iterable[str], where: str = "") -> UsageError:
    found = ", ".join(str(column)[:40] for column in list(columns)[:20]) or "none"
    return UsageError(f"{path}{where} needs the columns text and label, it has: {found}")
