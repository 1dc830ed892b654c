"""Which waiting rows run together: around the oldest, those nearest to it in length."""

import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

#: A row of a submission: which submission, and which of its rows.
RowKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row that waits for its turn."""

    submission: int
    index: int
    length: int
    #: Monotonic seconds.
    queued_at: float


class WaitingRows:
    """The rows of one version, in the order of their coming and of their length.

    Not safe for several threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._by_age: OrderedDict[RowKey, WaitingRow] = OrderedDict()
        #: (length, submission, index), sorted.
        self._by_length: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def oldest_at(self) -> float:
        """When the oldest row came; infinity if none waits."""
        for row in self._by_age.values():
            return row.queued_at
        return float("inf")

    def add(self, rows: Sequence[WaitingRow]) -> None:
        """Let rows wait."""
        for row in rows:
            self._by_age[row.submission, row.index] = row
        self._by_length.extend((row.length, row.submission, row.index) for row in rows)
        # Two sorted runs are merged in one pass by the sort that Python has.
        self._by_length.sort()

    def withdraw(self, submission: int) -> int:
        """Forget the rows of a submission that still wait; return how many they were."""
        mine = [key for key in self._by_age if key[0] == submission]
        for key in mine:
            del self._by_age[key]
        if mine:
            self._by_length = [entry for entry in self._by_length if entry[1] != submission]
        return len(mine)

    def take(self, budget: int) -> list[WaitingRow]:
        """Take the oldest row and its neighbours in length, up to `budget` padded tokens.

        Padded tokens are rows times the longest row among them. A row that is over the budget
        runs alone. Because the oldest always runs, no row starves, however odd its length.
        """
        if not self._by_age:
            return []
        oldest = next(iter(self._by_age.values()))
        entries = self._by_length
        low = bisect.bisect_left(entries, (oldest.length, oldest.submission, oldest.index))
        high = low + 1
        longest = max(oldest.length, 1)
        while True:
            more = high - low + 1
            nothing = float("inf")
            below = oldest.length - entries[low - 1][0] if low else nothing
            above = entries[high][0] - oldest.length if high < len(entries) else nothing
            # A longer row makes every row as long; a shorter one may fit where that does not.
            if above < below and more * max(entries[high][0], 1) <= budget:
                longest = max(entries[high][0], 1)
                high += 1
            elif low and more * longest <= budget:
                low -= 1
            else:
                break
        taken = entries[low:high]
        del entries[low:high]
        return [self._by_age.pop((submission, index)) for _, submission, index in taken]
