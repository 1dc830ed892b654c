"""Read a file of corrections: which rows, their labels, who says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from db.corrections import NewCorrection, RefusedCorrection
from training.table_files import NeededColumns, read_records

#: The columns, with the other names under which tables and exports have them.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "job": ("job", "job_id"),
    "row": ("row", "row_number"),
    "external_id": ("external_id",),
    "label": ("label",),
    "annotator": ("annotator",),
}

#: Numbers of jobs and rows are 64-bit integers in both databases.
MAX_NUMBER = 2**63 - 1


def read_corrections(
    path: Path, annotator: str, job: int | None = None
) -> tuple[list[NewCorrection], list[RefusedCorrection]]:
    """Read CSV, TSV, JSONL or Parquet with external_id, or job and row; label; maybe annotator.

    `annotator` and `job` are those of lines that name none. Returns the corrections and what
    cannot be read as one. Raises UsageError for a file that is no such table.
    """

    def suffice(names: Collection[str]) -> bool:
        has = {column: not set(COLUMNS[column]).isdisjoint(names) for column in COLUMNS}
        by_row = has["row"] and (has["job"] or job is not None)
        return has["label"] and (has["external_id"] or by_row)

    needed = NeededColumns(
        suffice,
        "the columns label and external_id, or label, job and row",
        tuple(name for names in COLUMNS.values() for name in names),
    )
    given: list[NewCorrection] = []
    refused: list[RefusedCorrection] = []
    for place, record in read_records(path, needed):
        try:
            given.append(_correction(place, record, annotator, job))
        except ValueError as error:
            refused.append(RefusedCorrection(place, str(error)))
    return given, refused


def _correction(
    place: int, record: Mapping[str, Any], annotator: str, job: int | None
) -> NewCorrection:
    label = _text("label", _cell(record, "label"))
    if label is None:
        raise ValueError("it has no label")
    own_job = _number("job", _cell(record, "job"))
    return NewCorrection(
        label=label,
        annotator=_text("annotator", _cell(record, "annotator")) or annotator,
        job=job if own_job is None else own_job,
        row=_number("row", _cell(record, "row")),
        external_id=_identifier(_cell(record, "external_id")),
        place=place,
    )


def _cell(record: Mapping[str, Any], column: str) -> object:
    return next((record[name] for name in COLUMNS[column] if name in record), None)


def _text(column: str, value: object) -> str | None:
    """Return a label or a name without the blanks around it, None if there is none.

    Raises ValueError for what is neither text nor a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError(f"its {column} is no text")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"its {column} is no text")
        value = int(value)
    text = "" if value is None else str(value).strip()
    return text or None


def _identifier(value: object) -> str | None:
    # An id is not stripped: the producer keeps it as it stands.
    if isinstance(value, str):
        return value or None
    return _text("external_id", value)


def _number(column: str, value: object) -> int | None:
    text = _text(column, value)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_NUMBER:
        raise ValueError(f"its {column} is no number from 1 on")
    return int(text)
