"""Where two versions disagree on unlabelled rows: what a promotion would change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from db.errors import UsageError
from db.ledger.jobs import get_job
from db.schema import LabeledText

if TYPE_CHECKING:
    from db.store import Store
    from worker.classifier import Classifier

#: Rows asked for in one statement.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredText:
    """A row of a job, and its text."""

    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Flip:
    """A row that two versions label differently, each with what confidence."""

    row: int
    text: str
    before: str
    after: str
    before_confidence: float
    after_confidence: float


def sample_texts(store: Store, job: int, most: int, seed: int) -> list[StoredText]:
    """Return up to `most` rows of `job`, chosen at random among those with a stored text.

    The same seed chooses the same rows. Raises `UsageError` for a job without any.
    """
    get_job(store, job)
    with store.read() as connection:
        with_text = (LabeledText.job_id == job, LabeledText.text.is_not(None))
        last = connection.scalar(select(func.max(LabeledText.row_number)).where(*with_text))
        if last is None:
            raise UsageError(
                f"job {job} has no rows with a stored text: it labelled none, was purged, or ran "
                "with --no-store-text"
            )
        # Rejected rows leave gaps: some more numbers than rows, and all of them at last.
        drawn = 2 * most
        while True:
            drawn = min(drawn, last)
            numbers = random.Random(seed).sample(range(1, last + 1), drawn)  # noqa: S311
            found: list[StoredText] = []
            for start in range(0, drawn, _AT_ONCE):
                portion = numbers[start : start + _AT_ONCE]
                query = select(LabeledText.row_number, LabeledText.text).where(
                    *with_text, LabeledText.row_number.in_(portion)
                )
                texts = {row.row_number: row.text for row in connection.execute(query)}
                found += [StoredText(each, texts[each]) for each in portion if each in texts]
                if len(found) >= most:
                    return found[:most]
            if drawn == last:
                return found
            drawn *= 4


def find_flips(rows: Sequence[StoredText], before: Classifier, after: Classifier) -> list[Flip]:
    """Return the rows that `after` labels otherwise than `before`, its most confident first."""
    texts = [row.text for row in rows]
    flips = [
        Flip(row.row, row.text, old["label"], new["label"], old["score"], new["score"])
        for row, old, new in zip(rows, before(texts), after(texts), strict=True)
        if old["label"] != new["label"]
    ]
    return sorted(flips, key=lambda flip: -flip.after_confidence)


def flip_counts(flips: Sequence[Flip]) -> list[tuple[str, str, int]]:
    """Return (from, to, rows), the most frequent first."""
    counts = Counter((flip.before, flip.after) for flip in flips)
    return [(before, after, rows) for (before, after), rows in counts.most_common()]
