"""How near an engine comes to fp32: the share of labels that are the same."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.predictions import MULTI_LABEL_THRESHOLD, probabilities

Logits = npt.NDArray[np.float32]

#: Rows whose two best fp32 logits are nearer to each other than this have no label to agree on; nor,
#: for a multi-label model, those with a logit that is nearer to the threshold.
CLOSE = 0.001

#: The logit at which a label of a multi-label model begins to hold: 0, whatever the temperature.
_THRESHOLD = math.log(MULTI_LABEL_THRESHOLD / (1 - MULTI_LABEL_THRESHOLD))


@dataclass(frozen=True)
class Agreement:
    """Of so many rows, how many have the label that fp32 gives, and how many could have either."""

    rows: int
    same: int
    close: int

    @property
    def share(self) -> float:
        """Share of the rows with one clear label that have it; 0 where none has one, and shows it."""
        clear = self.rows - self.close
        return self.same / clear if clear else 0.0


def agreement(found: Logits, fp32: Logits, *, multi_label: bool = False) -> Agreement:
    """Compare float32 [rows, labels] with those of fp32 for the same rows.

    Of a `multi_label` model every label must hold, or not, as with fp32. A row whose logits are not
    finite has no label: of fp32 it is none to agree on, and of the other it does not agree.
    """
    with np.errstate(invalid="ignore"):
        same, margin = _held(found, fp32) if multi_label else _best(found, fp32)
        # False of what is not finite, too.
        clear = np.isfinite(fp32).all(axis=1) & (margin >= CLOSE)
    same &= np.isfinite(found).all(axis=1)
    return Agreement(len(fp32), int((same & clear).sum()), int((~clear).sum()))


def _best(found: Logits, fp32: Logits) -> tuple[npt.NDArray[np.bool_], Logits]:
    """Return which rows have the same best label, and by how much the best of fp32 is so."""
    best = np.sort(fp32, axis=1)[:, -2:]
    return found.argmax(axis=1) == fp32.argmax(axis=1), best[:, -1] - best[:, 0]


def _held(found: Logits, fp32: Logits) -> tuple[npt.NDArray[np.bool_], Logits]:
    """Return in which rows the same labels hold, and how far the nearest is from the threshold."""
    held, expected = (
        probabilities(logits, multi_label=True).round(6) >= MULTI_LABEL_THRESHOLD
        for logits in (found, fp32)
    )
    return (held == expected).all(axis=1), np.abs(fp32 - _THRESHOLD).min(axis=1)
