"""The submissions whose rows wait or are computed, found by the places of their rows."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from worker.chunk_logits import ChunkLogits, Submission
from worker.encoder import EncodedRows
from worker.loaded_versions import Loaded
from worker.microbatch import Places


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one submission in a micro-batch."""

    submission: Submission
    #: int64, ascending.
    indices: npt.NDArray[np.int64]

    @property
    def rows(self) -> EncodedRows:
        """The rows themselves."""
        rows = self.submission.rows
        return rows if len(self.indices) == len(rows) else rows.taken(self.indices)

    @property
    def keys(self) -> list[bytes]:
        """What tells them apart."""
        keys = self.submission.row_keys
        return [keys[index] for index in self.indices.tolist()]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that run together, all of one version."""

    loaded: Loaded
    parts: Sequence[Part]
    #: When it began, by the shared clock.
    begun: float

    @property
    def rows(self) -> EncodedRows:
        """The rows of all parts, one after the other."""
        return EncodedRows.joined([part.rows for part in self.parts])

    @property
    def keys(self) -> list[bytes] | None:
        """What tells its rows apart; None on an engine that computes every row."""
        if not self.loaded.shares_rows:
            return None
        return [key for part in self.parts for key in part.keys]


class Submitted:
    """Submissions, each with a run of places of its own, in the order in which they came.

    Not safe for several threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        #: By the place of their first row, ascending.
        self._by_first: dict[int, Submission] = {}
        self._next_place = 0

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._by_first.values())

    def take_places(self, rows: int) -> int:
        """Return the first of as many places as there are `rows`, which nobody else will have."""
        first = self._next_place
        self._next_place += rows
        return first

    def add(self, submission: Submission) -> None:
        """Keep a submission; its places come after those of all that were added before."""
        self._by_first[submission.first] = submission

    def remove(self, submission: Submission) -> None:
        """Forget a submission, if it is there."""
        self._by_first.pop(submission.first, None)

    def of(self, future: "Future[ChunkLogits]") -> Submission | None:
        """Return the submission that `future` belongs to; None if it is not here any more."""
        return next((each for each in self if each.future is future), None)

    def parts(self, places: Places) -> list[Part]:
        """Tell whose rows those at `places` are; each submission's are in its own order."""
        firsts = np.fromiter(self._by_first, np.int64, len(self._by_first))
        places = np.sort(places)
        # Submissions come one after the other, so that each has a run of places of its own.
        owners = np.searchsorted(firsts, places, side="right") - 1
        starts = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
        parts = []
        for start, stop in pairwise([*starts, len(places)]):
            submission = self._by_first[int(firsts[owners[start]])]
            parts.append(Part(submission, places[start:stop] - submission.first))
        return parts
