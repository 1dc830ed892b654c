"""Label Studio: tasks with the model's label as a prediction, and its two JSON exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from training.review.answers import Answers, Item
from training.review.picking import Review

#: What the labelling interface calls the choice, and what it is chosen for.
_CHOICE, _TEXT = "label", "text"

#: The first labels get a key each.
_KEYS = "123456789"


def tasks(review: Review) -> list[dict[str, Any]]:
    """Return the rows as tasks to import, each with a prediction."""
    return [
        {
            "data": {
                "text": row.text,
                "job": row.job,
                "row": row.row,
                "key": row.key,
                "external_id": row.external_id,
                "predicted": row.label,
                "confidence": row.confidence,
                "strategy": review.strategy,
            },
            "predictions": [
                {
                    "model_version": row.version,
                    "score": row.confidence,
                    "result": [
                        {
                            "from_name": _CHOICE,
                            "to_name": _TEXT,
                            "type": "choices",
                            "value": {"choices": [row.label]},
                        }
                    ],
                }
            ],
        }
        for row in review.rows
    ]


def labelling_interface(labels: Sequence[str]) -> str:
    """Return the configuration of a project for such tasks, in Label Studio's XML."""
    choices = []
    for place, label in enumerate(labels):
        key = f' hotkey="{_KEYS[place]}"' if place < len(_KEYS) else ""
        choices.append(f"    <Choice value={quoteattr(label)}{key}/>\n")
    return (
        f'<View>\n  <Text name="{_TEXT}" value="$text"/>\n'
        f'  <Choices name="{_CHOICE}" toName="{_TEXT}" choice="single">\n'
        f"{''.join(choices)}  </Choices>\n</View>\n"
    )


def read(items: Sequence[Item], default: str) -> Answers:
    """Read what Label Studio exports as JSON, or as JSON-MIN."""
    answers = Answers()
    for place, item in enumerate(items, start=1):
        if isinstance(item.get("annotations"), list):
            _read_task(answers, place, item, default)
        else:
            labels = _chosen(item.get(_CHOICE))
            answers.add(place, item, labels, _name(item.get("annotator")), default)
    return answers


def _read_task(answers: Answers, place: int, task: Item, default: str) -> None:
    data = task.get("data")
    row = data if isinstance(data, dict) else {}
    finished = [each for each in task["annotations"] if isinstance(each, dict)]
    finished = [each for each in finished if not each.get("was_cancelled")]
    if not finished:
        answers.skipped += 1
    for annotation in finished:
        found = annotation.get("result")
        labels = [
            label
            for result in (found if isinstance(found, list) else [])
            if isinstance(result, dict) and result.get("type") == "choices"
            for label in _chosen(result.get("value"))
        ]
        answers.add(place, row, labels, _name(annotation.get("completed_by")), default)


def _chosen(value: object) -> list[object]:
    """Return what was chosen; what is no choice stands for itself, and is refused as a label."""
    if isinstance(value, dict):
        value = value.get("choices")
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _name(who: object) -> str | None:
    """Return what names a person: an address, or a number of Label Studio's own."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    if isinstance(who, int) and not isinstance(who, bool):
        return f"label-studio user {who}"
    return who if isinstance(who, str) and who.strip() else None
