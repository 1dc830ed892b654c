"""The epochs of a fit: what each gave, which is kept, and when to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch (from 1): mean training loss, validation metrics, seconds with evaluation."""

    number: int
    loss: float
    validation: Metrics
    seconds: float


def chosen_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """Return the epoch of best validation macro-F1, of several the first."""
    return max(epochs, key=lambda epoch: (epoch.validation.macro_f1, -epoch.number))


def out_of_patience(epochs: Sequence[Epoch], patience: int) -> bool:
    """Tell whether the last `patience` epochs (0: never) brought nothing better."""
    return bool(patience and epochs) and len(epochs) - chosen_epoch(epochs).number >= patience
