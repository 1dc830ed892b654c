"""What people said of the rows that they were given, whatever tool they said it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.corrections import STRATEGIES, NewCorrection, RefusedCorrection
from training.corrections import MAX_NUMBER

#: More digits than a number of a row has.
_DIGITS = 20

#: A JSON object.
Item = Mapping[str, Any]


@dataclass
class Answers:
    """The answers of a file."""

    given: list[NewCorrection] = field(default_factory=list)
    refused: list[RefusedCorrection] = field(default_factory=list)
    #: Rows that nobody answered, or that somebody skipped.
    skipped: int = 0

    def add(
        self, place: int, row: Item, labels: Sequence[object], annotator: str | None, default: str
    ) -> None:
        """Take the answer of `annotator` (`default`, if no one is named) for the row at `place`.

        `row` names it by `job` and `row`, and tells the `strategy` it was chosen by; an answer
        without a label skips it.
        """
        if not labels:
            self.skipped += 1
            return
        try:
            job, number = _number(row, "job"), _number(row, "row")
            if len(labels) > 1:
                raise ValueError("it has several labels, and a row has one")
            label = labels[0]
            if not isinstance(label, str) or not label.strip():
                raise ValueError("its label is no text")
        except ValueError as error:
            self.refused.append(RefusedCorrection(place, str(error)))
            return
        who = default if annotator is None else annotator
        key = str(row.get("key") or "") or None
        self.given.append(
            NewCorrection(
                label.strip(),
                who,
                job=job,
                row=number,
                text_key=key,
                place=place,
                strategy=_strategy(row),
            )
        )


def _number(row: Item, name: str) -> int:
    value = row.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
        raise ValueError(f"it has lost its {name}, a number from 1 on: export it with its data")
    return value


def _strategy(row: Item) -> str | None:
    """Return how the row was chosen; None if that was lost, or is none of ours."""
    said = row.get("strategy")
    return said if isinstance(said, str) and said in STRATEGIES else None
