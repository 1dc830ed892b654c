"""Evaluations of predictions that are given, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np

from training.calibration import calibration_error, log_loss, reliability
from training.comparison import Comparison
from training.evaluation import Evaluation
from training.metrics import measure

#: A row of a test split: how many of them, their true label, and what was predicted.
Rows = tuple[int, str, str]


def evaluation(
    truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str], temperature: float = 1.0
) -> Evaluation:
    """Return the evaluation of label ids; the predicted label's logit is 3, the others' are 0."""
    logits = np.zeros((len(truth), len(labels)), dtype=np.float32)
    logits[range(len(truth)), list(predicted)] = 3.0
    bins, after = reliability(logits, truth), reliability(logits, truth, temperature)
    return Evaluation(
        split="test",
        engine="torch",
        metrics=measure(truth, predicted, labels),
        log_loss=log_loss(logits, truth),
        ece=calibration_error(bins),
        temperature=temperature,
        log_loss_calibrated=log_loss(logits, truth, temperature),
        ece_calibrated=calibration_error(after),
        bins=tuple(bins),
        bins_calibrated=tuple(after),
        logits=logits,
        truth=np.asarray(truth),
    )


def comparison(
    labels: str, before: Sequence[Rows], after: Sequence[Rows], champion: str = "mood:1"
) -> Comparison:
    """Return the comparison of two that were given the same rows, a letter a label.

    `before` and `after` have rows of the same true labels in the same order.
    """
    one, other = (_spread(labels, rows) for rows in (before, after))
    assert one[0] == other[0], "both must be measured on the same rows"
    return Comparison(champion, evaluation(*one, labels), evaluation(*other, labels))


def _spread(labels: str, rows: Sequence[Rows]) -> tuple[list[int], list[int]]:
    truth = [labels.index(true) for count, true, _ in rows for _ in range(count)]
    return truth, [labels.index(said) for count, _, said in rows for _ in range(count)]
