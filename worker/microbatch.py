"""Which waiting rows run together: around the oldest, those nearest to it in length."""

from collections import deque

import numpy as np
import numpy.typing as npt

#: Places of rows: the numbers that they got when they came, ever larger. int64 [rows].
Places = npt.NDArray[np.int64]

_NONE: Places = np.zeros(0, dtype=np.int64)


class WaitingRows:
    """The rows of one version, each known by its place, with their lengths.

    Two flat arrays, sorted by length and then by place, rather than an object a row: rows come by
    the hundred and leave by the dozen. Not safe for several threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._places = _NONE
        self._lengths = _NONE
        #: The first place of rows that came together, and when they came, in monotonic seconds.
        self._came: deque[tuple[int, float]] = deque()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def tokens(self) -> int:
        """How many tokens all of them have."""
        return int(self._lengths.sum())

    @property
    def oldest_at(self) -> float:
        """When the oldest row came; infinity if none waits."""
        if not len(self):
            return float("inf")
        oldest = int(self._places.min())
        while len(self._came) > 1 and self._came[1][0] <= oldest:
            self._came.popleft()
        return self._came[0][1]

    def add(self, places: Places, lengths: npt.NDArray[np.int64], at: float) -> None:
        """Let rows wait, whose ascending places come after those of all rows before them."""
        if not len(places):
            return
        if not len(self):
            self._came.clear()
        self._came.append((int(places[0]), at))
        all_lengths = np.concatenate((self._lengths, lengths))
        # Stable: of equal length, the one that came first is first.
        order = np.argsort(all_lengths, kind="stable")
        self._lengths = all_lengths[order]
        self._places = np.concatenate((self._places, places))[order]

    def withdraw(self, start: int, stop: int) -> int:
        """Forget the rows with places from `start` up to `stop`; return how many they were."""
        stay = (self._places < start) | (self._places >= stop)
        before = len(self)
        self._places, self._lengths = self._places[stay], self._lengths[stay]
        return before - len(self)

    def take(self, budget: int) -> Places:
        """Take the oldest row and its neighbours in length, up to `budget` padded tokens.

        Padded tokens are rows times the longest row among them. A row that is over the budget
        runs alone. Because the oldest always runs, no row starves, however odd its length.
        """
        if not len(self):
            return _NONE
        oldest = int(self._places.argmin())
        low, high = _around(self._lengths, oldest, budget)
        taken = self._places[low:high]
        self._places = np.concatenate((self._places[:low], self._places[high:]))
        self._lengths = np.concatenate((self._lengths[:low], self._lengths[high:]))
        return taken


def _around(lengths: npt.NDArray[np.int64], oldest: int, budget: int) -> tuple[int, int]:
    """Return from where up to where rows run with the one at `oldest`; `lengths` ascend."""
    if len(lengths) * max(int(lengths[-1]), 1) <= budget:
        return 0, len(lengths)
    own = int(lengths[oldest])
    # No more than these can be within the budget, on either side.
    reach = budget // max(own, 1)
    first = max(oldest - reach, 0)
    near = lengths[first : oldest + reach + 1].tolist()
    low = oldest - first
    high = low + 1
    longest = max(own, 1)
    nothing = float("inf")
    while True:
        more = high - low + 1
        below = own - near[low - 1] if low else nothing
        above = near[high] - own if high < len(near) else nothing
        # A longer row makes every row as long; a shorter one may fit where that does not.
        if above < below and more * max(near[high], 1) <= budget:
            longest = max(near[high], 1)
            high += 1
        elif low and more * longest <= budget:
            low -= 1
        else:
            return first + low, first + high
