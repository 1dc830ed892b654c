"""Labelled rows as they stand in the table, for tests of what reads them."""

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
    words = values.pop("text", f"text {job} {row}")
    standard: dict[str, Any] = {
        "job_id": job,
        "row_number": row,
        "external_id": None,
        "id_scope": "rows.csv",
        "text_hash": text_hash(words),
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
    with store.write() as connection:
        connection.execute(insert(LabeledText).values({**standard, **values}))


def correct(store: Store, job: int, row: int, label: str, minute: int, who: str = "me") -> None:
    """Store a person's correction."""
    with store.write() as connection:
        connection.execute(
            insert(Correction).values(
                job_id=job, row_number=row, label=label, annotator=who, at=at(minute)
            )
        )
