"""Argilla: records as its `from_json` reads and its `to_json` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.review.answers import Answers, Item
from training.review.picking import Review

#: The question of the data set.
_QUESTION = "label"


def records(review: Review) -> list[dict[str, Any]]:
    """Return the rows as records, each with the model's label as a suggestion."""
    return [
        {
            "id": f"{row.job}-{row.row}",
            "fields": {"text": row.text},
            "metadata": {
                "job": row.job,
                "row": row.row,
                "key": row.key,
                "strategy": review.strategy,
            },
            "suggestions": {
                _QUESTION: {"value": row.label, "score": row.confidence, "agent": row.version}
            },
            "responses": {},
            "vectors": {},
        }
        for row in review.rows
    ]


def read(items: Sequence[Item], default: str) -> Answers:
    """Read records with their responses."""
    answers = Answers()
    for place, item in enumerate(items, start=1):
        metadata, responses = item.get("metadata"), item.get("responses")
        row = metadata if isinstance(metadata, dict) else {}
        given = responses.get(_QUESTION, []) if isinstance(responses, dict) else []
        if not given:
            answers.skipped += 1
        for response in given if isinstance(given, list) else [given]:
            told = response if isinstance(response, dict) else {"value": response}
            value, who = told.get("value"), told.get("user_id")
            labels = value if isinstance(value, list) else [] if value is None else [value]
            if told.get("status", "submitted") != "submitted":
                # A draft, or one that was discarded.
                labels = []
            answers.add(place, row, labels, f"argilla user {who}" if who else None, default)
    return answers
