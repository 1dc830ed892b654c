"""Who reviews what: the sessions of the page, in memory; what they answered is in the table."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from db.corrections import Opinion
from training.review.names import Strategy
from training.review.picking import PickedRow

#: Sessions that are kept; the one used least recently leaves.
_MOST_SESSIONS = 500

#: Rows of a review that can still be answered, such as in another window.
_SHOWN_ROWS = 50

#: Seconds for which a row that is on somebody's page is given to nobody else.
_IN_HAND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said of a row; `label` is None where the row was skipped."""

    row: PickedRow
    label: str | None
    #: What the same person said of the row before, in another review of it.
    before: Opinion | None = None
    #: Whether the answer was news, and stands in the table.
    added: bool = False


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
    #: Held while an answer is taken: two windows may show the same review.
    lock: Lock = field(default_factory=Lock)

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

    def take(self, answer: Answer) -> None:
        """Note an answer, or a skip."""
        row = answer.row.row
        self.again = [other for other in self.again if other.row != row]
        self.answers = [other for other in self.answers if other.row.row != row]
        self.answers.append(answer)

    def undone(self) -> None:
        """Note that the last answer was taken back: its row is the next."""
        self.again.append(self.answers.pop().row)


class Reviews:
    """The reviews that go on, by the browser's session and the way; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        #: Held while a row is chosen for somebody, so that nobody else gets the same.
        self.choosing = Lock()
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

    def forget(self, job: int) -> None:
        """Forget the reviews of a job."""
        with self._lock:
            for key in [key for key in self._reviews if key[1].job == job]:
                del self._reviews[key]

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
            others = [
                (other.now, other.since)
                for other in self._reviews.values()
                if other is not review and other.way.job == review.way.job
            ]
        return frozenset(now.row for now, shown in others if now is not None and shown > since)
