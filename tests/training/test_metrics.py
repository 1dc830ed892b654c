"""The figures against numbers worked out by hand, and against scikit-learn."""

import random

import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from training.metrics import measure


def test_figures_equal_those_worked_out_by_hand() -> None:
    #            a  a  a  a  b  b  c  c  c  c
    truth = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    predicted = [0, 0, 0, 1, 1, 2, 2, 2, 0, 2]
    metrics = measure(truth, predicted, ["a", "b", "c"])
    assert metrics.rows == 10
    assert metrics.confusion == ((3, 1, 0), (0, 1, 1), (1, 0, 3))
    assert metrics.accuracy == pytest.approx(7 / 10)
    a, b, c = metrics.per_class
    assert (a.label, a.precision, a.recall, a.f1, a.support) == ("a", 3 / 4, 3 / 4, 3 / 4, 4)
    assert (b.label, b.precision, b.recall, b.f1, b.support) == ("b", 1 / 2, 1 / 2, 1 / 2, 2)
    assert (c.label, c.precision, c.recall, c.f1, c.support) == ("c", 3 / 4, 3 / 4, 3 / 4, 4)
    assert metrics.macro_f1 == pytest.approx(2 / 3)


def test_a_label_never_predicted_counts_as_zero_and_one_that_never_occurs_not_at_all() -> None:
    metrics = measure([0, 0, 1], [0, 0, 0], ["seen", "missed", "absent"])
    assert [one.f1 for one in metrics.per_class] == [0.8, 0.0, 0.0]
    assert metrics.macro_f1 == pytest.approx(0.4)


def test_figures_equal_those_of_scikit_learn() -> None:
    chance = random.Random(7)
    truth = [chance.randrange(6) for _ in range(500)]
    predicted = [label if chance.random() < 0.7 else chance.randrange(6) for label in truth]
    metrics = measure(truth, predicted, list("abcdef"))
    theirs = zip(*precision_recall_fscore_support(truth, predicted), strict=True)
    for one, (precision, recall, f1, support) in zip(metrics.per_class, theirs, strict=True):
        assert (one.precision, one.recall, one.f1) == pytest.approx((precision, recall, f1))
        assert one.support == support
    assert metrics.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro"))


@pytest.mark.parametrize(("truth", "predicted"), [([], []), ([0, 1], [0])])
def test_nothing_to_compare_is_an_error(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="labels"):
        measure(truth, predicted, ["a", "b"])
