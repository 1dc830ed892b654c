"""How near an engine comes to fp32: the share of labels that are the same."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]

#: Rows whose two best fp32 logits are nearer to each other than this have no label to agree on.
CLOSE = 0.001


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


def agreement(found: Logits, fp32: Logits) -> Agreement:
    """Compare float32 [rows, labels] with those of fp32 for the same rows.

    A row whose logits are not finite has no label: of fp32 it is none to agree on, and of the other
    it does not agree.
    """
    best = np.sort(fp32, axis=1)[:, -2:]
    clear = best[:, 1] - best[:, 0] >= CLOSE
    same = np.isfinite(found).all(axis=1) & (found.argmax(axis=1) == fp32.argmax(axis=1))
    return Agreement(len(fp32), int((same & clear).sum()), int((~clear).sum()))
