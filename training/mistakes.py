"""The rows that a version is most sure of and has wrong: where to look first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation import Evaluation
from worker.predictions import probabilities

#: How many are shown.
MISTAKES = 20


@dataclass(frozen=True, slots=True)
class Mistake:
    """A text, the label that it has in the data, and the one it got, with what confidence."""

    text: str
    truth: str
    predicted: str
    confidence: float


def confident_mistakes(
    evaluation: Evaluation,
    texts: Sequence[str],
    labels: Sequence[str],
    most: int = MISTAKES,
) -> list[Mistake]:
    """Return the wrong rows of highest calibrated confidence, the highest first.

    `texts` are those of the evaluation's split, `labels` the version's.
    """
    confidence = probabilities(evaluation.logits, evaluation.temperature).max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = [row for row in order.tolist() if not evaluation.right[row]]
    return [
        Mistake(
            text=texts[row],
            truth=labels[int(evaluation.truth[row])],
            predicted=labels[int(evaluation.predicted[row])],
            confidence=float(confidence[row]),
        )
        for row in wrong[:most]
    ]
