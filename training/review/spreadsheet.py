"""A CSV for a spreadsheet: the column `label` is empty, and filled where somebody looked."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from db.spreadsheet import safe_cell
from training.review.answers import Answers
from training.review.picking import Review
from training.table_files import NeededColumns, read_records

_HEADER = (
    "job",
    "row",
    "key",
    "external_id",
    "text",
    "predicted",
    "confidence",
    "strategy",
    "label",
)
_READ = ("job", "row", "key", "strategy", "label", "annotator")


def table(review: Review) -> str:
    """Return the rows as CSV."""
    out = io.StringIO(newline="")
    # With it, a text that has a carriage return alone is quoted.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_HEADER)
    for row in review.rows:
        words = map(safe_cell, (row.external_id or "", row.text, row.label))
        told = (row.job, row.row, row.key, *words, row.confidence)
        writer.writerow((*told, review.strategy, ""))
    return out.getvalue()


def read(path: Path, default: str) -> Answers:
    """Read such a table; a row without a label is skipped."""
    needed = NeededColumns(
        lambda names: {"job", "row", "label"} <= set(names),
        "the columns job, row and label",
        _READ,
    )
    answers = Answers()
    for place, record in read_records(path, needed):
        label = str(record.get("label") or "").strip()
        who = str(record.get("annotator") or "").strip()
        answers.add(place, record, [label] if label else [], who or None, default)
    return answers
