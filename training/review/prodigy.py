"""Prodigy: tasks of its `choice` interface, a JSON object a line, and its `db-out`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.review.answers import Answers, Item
from training.review.picking import Review


def tasks(review: Review) -> list[dict[str, Any]]:
    """Return the rows as tasks, the model's label chosen already."""
    options = [{"id": label, "text": label} for label in review.labels]
    return [
        {
            "text": row.text,
            "options": options,
            "accept": [row.label],
            "meta": {
                "job": row.job,
                "row": row.row,
                "key": row.key,
                "predicted": row.label,
                "confidence": row.confidence,
                "strategy": review.strategy,
            },
        }
        for row in review.rows
    ]


def read(items: Sequence[Item], default: str) -> Answers:
    """Read tasks that were answered; one that was rejected or ignored is skipped."""
    answers = Answers()
    for place, item in enumerate(items, start=1):
        meta, accepted = item.get("meta"), item.get("accept")
        labels = accepted if isinstance(accepted, list) else [accepted] if accepted else []
        who = item.get("_annotator_id") or item.get("_session_id")
        answers.add(
            place,
            meta if isinstance(meta, dict) else {},
            labels if item.get("answer") == "accept" else [],
            who if isinstance(who, str) else None,
            default,
        )
    return answers
