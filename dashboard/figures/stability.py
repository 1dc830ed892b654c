"""The population stability index: how far counts have moved from those of a reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Above this, people commonly say, a population has shifted (Siddiqi, Credit Risk Scorecards, 2006: up
#: to 0.1 little changed, from 0.25 on much; 0.2 is the mark that most tools draw).
SHIFTED = 0.2

#: Added to each count, so that a bin without a row has a logarithm.
_SMOOTHING = 0.5

#: The most that chance alone may be expected to make of an index that is told: a quarter of the mark.
_MOST_NOISE = SHIFTED / 4


@dataclass(frozen=True)
class Shift:
    """What can be said of how far counts have moved."""

    #: The stability index; None where there is nothing to compare, or too little.
    index: float | None
    #: Whether there are rows, but so few that chance alone could make a difference of them.
    too_few: bool = False

    @property
    def shifted(self) -> bool:
        """Whether these are other rows than those."""
        return self.index is not None and self.index > SHIFTED

    @property
    def words(self) -> str:
        """What a sentence says of it."""
        if self.too_few:
            return "too few rows to compare"
        return "nothing to compare" if self.index is None else f"stability index {self.index:.3f}"


def shift(reference: Sequence[float], now: Sequence[float]) -> Shift:
    """Return how far `now` is from `reference`, counts of the same bins, if there are enough of both."""
    index = stability_index(reference, now)
    if index is None:
        return Shift(None)
    noise = (len(now) - 1) * (1 / sum(reference) + 1 / sum(now))
    return Shift(None, too_few=True) if noise > _MOST_NOISE else Shift(index)


def stability_index(reference: Sequence[float], now: Sequence[float]) -> float | None:
    """Return the sum over the bins of (q - p) ln(q / p), with p of the reference and q of now.

    0 where both have the same shares. Without any difference about (bins - 1) (1/n + 1/m) comes from
    chance alone, for n and m rows. None where either has no rows.
    """
    if not sum(reference) or not sum(now):
        return None
    shares: list[list[float]] = []
    for counts in (reference, now):
        total = sum(counts) + _SMOOTHING * len(counts)
        shares.append([(count + _SMOOTHING) / total for count in counts])
    index: float = sum((q - p) * math.log(q / p) for p, q in zip(*shares, strict=True))
    return index
