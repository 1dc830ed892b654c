"""Labelled rows as they stand in the table, for tests of what reads them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from db.schema import Correction, LabeledText
from db.store import Store
from db.text import text_hash

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    """Return a time, `minute` minutes after noon."""
    return NOON + timedelta(minutes=minute)


def label_row(store: Store, job: int, row: int, label: str, minute: int = 0, **values: Any) -> None:
    """Store a labelled row; with neither `external_id` nor `text` its text is its own."""
    with store.write() as connection:
        connection.execute(insert(LabeledText).values(_row(job, row, label, minute, values)))


def label_rows(store: Store, job: int, texts: Sequence[str], label: str, **values: Any) -> None:
    """Store a labelled row a text, numbered from 1, in one transaction."""
    rows = [
        _row(job, number, label, 0, {**values, "text": text})
        for number, text in enumerate(texts, 1)
    ]
    with store.write() as connection:
        connection.execute(insert(LabeledText), rows)


def _row(job: int, row: int, label: str, minute: int, values: dict[str, Any]) -> dict[str, Any]:
    words = values.get("text", f"text {job} {row}")
    standard: dict[str, Any] = {
        "job_id": job,
        "row_number": row,
        "external_id": None,
        "id_scope": "rows.csv",
        "text_hash": text_hash(words or ""),
        "text": words,
        "truncated": False,
        "label": label,
        "confidence": 0.5,
        "scores": {label: 0.5},
        "labels": None,
        "unsure": False,
        "model": "emotion",
        "model_version": 1,
        "engine": "constant",
        "extra": None,
        "labeled_at": at(minute),
    }
    return {**standard, **values}


def correct(
    store: Store,
    job: int,
    row: int,
    label: str | None,
    minute: int,
    who: str = "me",
    strategy: str | None = None,
) -> None:
    """Store a person's correction, or with no label a withdrawal."""
    with store.write() as connection:
        connection.execute(
            insert(Correction).values(
                job_id=job,
                row_number=row,
                label=label,
                annotator=who,
                at=at(minute),
                strategy=strategy,
            )
        )
