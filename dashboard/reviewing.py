"""Who reviews what: the sessions of the page, in memory; what they answered is in the table."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from training.review.names import Strategy
from training.review.picking import PickedRow

#: Sessions that are kept; the one used least recently leaves.
_MOST_SESSIONS = 500

#: Rows of a review that can still be answered, by going back in the browser.
_SHOWN_ROWS = 50

#: Seconds for which a row that is on somebody's page is given to nobody else.
_IN_HAND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said of a row; `label` is None where the row was skipped."""

    row: PickedRow
    label: str | None


@dataclass(frozen=True, slots=True)
class Way:
    """Which rows of a job are looked at."""

    job: int
    strategy: Strategy
    #: Rows that the model gave this label alone; None: all of them.
    label: str | None = None


@dataclass
class Reviewing:
    """One person's review of one job in one way."""

    way: Way
    annotator: str
    answers: list[Answer] = field(default_factory=list)
    #: Rows that came back by an undo, the last one first in turn.
    again: list[PickedRow] = field(default_factory=list)
    #: Rows that were shown lately, by their number; only these can be answered.
    shown: OrderedDict[int, PickedRow] = field(default_factory=OrderedDict)
    #: The one on the page now, and since when.
    now: PickedRow | None = None
    since: float = 0.0

    @property
    def answered(self) -> int:
        """Rows that got a label."""
        return sum(answer.label is not None for answer in self.answers)

    @property
    def confirmed(self) -> int:
        """Rows whose label is the model's."""
        return sum(answer.label == answer.row.label for answer in self.answers)

    @property
    def skipped(self) -> frozenset[int]:
        """The numbers of the rows that got none."""
        return frozenset(answer.row.row for answer in self.answers if answer.label is None)

    def is_answered(self, row: PickedRow) -> bool:
        """Whether this review has an answer for the row, or skipped it."""
        return any(answer.row.row == row.row for answer in self.answers)

    def take(self, row: PickedRow, label: str | None) -> None:
        """Note an answer, or with None a skip."""
        self.again = [other for other in self.again if other.row != row.row]
        self.answers = [answer for answer in self.answers if answer.row.row != row.row]
        self.answers.append(Answer(row, label))

    def undo(self) -> Answer | None:
        """Take the last answer back; its row is the next."""
        if not self.answers:
            return None
        last = self.answers.pop()
        self.again.append(last.row)
        return last


class Reviews:
    """The reviews that go on, by the browser's session and the way; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._reviews: OrderedDict[tuple[str, Way], Reviewing] = OrderedDict()
        #: Who looks, by the browser's session.
        self._names: OrderedDict[str, str] = OrderedDict()

    def name(self, session: str) -> str | None:
        """Return who looks, as far as they said so."""
        with self._lock:
            return self._names.get(session)

    def call(self, session: str, name: str) -> None:
        """Remember who looks; what is under way goes on under another name from the beginning."""
        with self._lock:
            self._names[session] = name
            self._names.move_to_end(session)
            while len(self._names) > _MOST_SESSIONS:
                self._names.popitem(last=False)

    def of(self, session: str, way: Way, annotator: str) -> Reviewing:
        """Return somebody's review in some way, begun if need be."""
        with self._lock:
            found = self._reviews.get((session, way))
            if found is None or found.annotator != annotator:
                found = self._reviews[session, way] = Reviewing(way, annotator)
            self._reviews.move_to_end((session, way))
            while len(self._reviews) > _MOST_SESSIONS:
                self._reviews.popitem(last=False)
            return found

    def show(self, review: Reviewing, row: PickedRow | None) -> None:
        """Note which row is on somebody's page now."""
        review.now, review.since = row, self._clock()
        if row is not None:
            review.shown[row.row] = row
            review.shown.move_to_end(row.row)
            while len(review.shown) > _SHOWN_ROWS:
                review.shown.popitem(last=False)

    def in_hand(self, review: Reviewing) -> frozenset[int]:
        """Return the rows of the same job that are on the pages of others."""
        since = self._clock() - _IN_HAND_SECONDS
        with self._lock:
            return frozenset(
                other.now.row
                for other in self._reviews.values()
                if other is not review
                and other.now is not None
                and other.way.job == review.way.job
                and other.since > since
            )
