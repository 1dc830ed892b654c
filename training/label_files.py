"""Read a file of labelled texts: CSV, TSV, JSONL, Parquet, or lines `text;label`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.errors import UsageError
from training.multi_label import LIST_COLUMN, holds_several, multi_label_error
from training.table_files import (
    TABLE_SUFFIXES,
    NeededColumns,
    cannot_read,
    decoded,
    not_utf8,
    parquet_schema,
    read_records,
)

TEXT_COLUMN = "text"
LABEL_COLUMN = "label"

#: The suffixes that are read, and that a folder's splits are looked for with.
SUFFIXES = (*TABLE_SUFFIXES, ".txt")


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
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        return LabelFile(tuple(_text_lines(path)), None)
    names = _class_names(parquet_schema(path).metadata or {}) if suffix == ".parquet" else None
    return LabelFile(tuple(_table_rows(path)), names)


def _text_lines(path: Path) -> Iterator[LabelledRow]:
    try:
        content = decoded(path)
    except OSError as error:
        raise cannot_read(path, error) from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    # split("\n"), not splitlines(): a text may hold form feeds or line separators of its own.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        text, semicolon, label = line.rstrip("\r").rpartition(";")
        if not semicolon:
            raise UsageError(f"{path} line {number} has no semicolon: expected text;label")
        yield LabelledRow(text, label.strip(), number)


def _table_rows(path: Path) -> Iterator[LabelledRow]:
    parquet = path.suffix.lower() == ".parquet"
    needed = NeededColumns(
        _suffice, "the columns text and label", (TEXT_COLUMN, LABEL_COLUMN, LIST_COLUMN)
    )
    for place, record in read_records(path, needed):
        if LABEL_COLUMN not in record:
            if holds_several(record[LIST_COLUMN]):
                raise multi_label_error(f"{path} row {place}", record[LIST_COLUMN])
            raise UsageError(f"{path} needs {needed.said}, it has: text, {LIST_COLUMN}")
        text, label = record[TEXT_COLUMN], record[LABEL_COLUMN]
        if parquet and text is None:
            text = ""
        if not isinstance(text, str):
            raise UsageError(
                f"{path}: column text holds {type(text).__name__}, not strings"
                if parquet
                else f"{path} line {place}: text is no string"
            )
        yield LabelledRow(text, label.strip() if isinstance(label, str) else label, place)


def _suffice(names: Collection[str]) -> bool:
    # A table with `labels` alone is told from one without any: it is a multi-label one.
    return TEXT_COLUMN in names and (LABEL_COLUMN in names or LIST_COLUMN in names)


def _class_names(metadata: dict[bytes, bytes]) -> tuple[str, ...] | None:
    """Find the names of a ClassLabel feature, as the `datasets` library writes them into Parquet."""
    import orjson

    try:
        features: Any = orjson.loads(metadata[b"huggingface"])["info"]["features"]
        names: Sequence[object] = features[LABEL_COLUMN]["names"]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return None
