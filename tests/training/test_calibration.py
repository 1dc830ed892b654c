"""Log loss, temperature and calibration error: by hand, by definition, and against SciPy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss as sklearn_log_loss

from training.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    Bin,
    calibration_error,
    fit_temperature,
    log_loss,
    reliability,
)

Logits = npt.NDArray[np.float32]


def f32(rows: Sequence[Sequence[float]]) -> Logits:
    return np.asarray(rows, dtype=np.float32)


def shares(logits: Logits, temperature: float = 1.0) -> Any:
    """Softmax as a textbook has it."""
    powers = np.exp(logits.astype(float) / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def made(rows: int, labels: int, temperature: float, seed: int) -> tuple[Logits, list[int]]:
    """Logits, and labels drawn by the shares that they have at `temperature`."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 2.5, (rows, labels)).astype(np.float32)
    drawn = [chance.choice(labels, p=row) for row in shares(logits, temperature)]
    return logits, drawn


def expected_loss(logits: Logits, truth: Sequence[int], temperature: float) -> float:
    """What a temperature is fitted to make small, from its definition: Platt's targets."""
    rows, labels = logits.shape
    doubt = 1 / (rows + 2)
    total = 0.0
    for row, right in zip(shares(logits, temperature), truth, strict=True):
        for label in range(labels):
            target = 1 - doubt if label == right else doubt / (labels - 1)
            total -= target * math.log(row[label])
    return total


def of_confidence(*rows: tuple[float, bool]) -> tuple[Logits, list[int]]:
    """Two labels a row: the first one's confidence, and whether it is the true one."""
    logits = f32([[math.log(share), math.log(1 - share)] for share, _ in rows])
    return logits, [0 if right else 1 for _, right in rows]


def test_log_loss_equals_what_a_hand_works_out() -> None:
    logits = f32([[0.0, 0.0], [math.log(3), 0.0]])
    # The true labels' shares are 1/2 and 3/4; at half the logits, the second is 0.6340.
    assert log_loss(logits, [0, 0]) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert log_loss(logits, [0, 1]) == pytest.approx((math.log(2) + math.log(4)) / 2)
    root = math.sqrt(3)
    at_two = (math.log(2) + math.log((root + 1) / root)) / 2
    assert log_loss(logits, [0, 0], temperature=2.0) == pytest.approx(at_two)


def test_log_loss_equals_that_of_scikit_learn() -> None:
    logits, truth = made(400, 6, temperature=1.4, seed=3)
    for temperature in (0.5, 1.0, 2.7):
        theirs = sklearn_log_loss(truth, shares(logits, temperature), labels=range(6))
        assert log_loss(logits, truth, temperature) == pytest.approx(theirs, rel=1e-6)


def test_a_share_too_small_for_a_float_is_still_a_finite_loss() -> None:
    assert log_loss(f32([[2000.0, 0.0]]), [1]) == pytest.approx(2000.0)


def standard_error(logits: Logits, temperature: float) -> float:
    """By how much a temperature that is fitted on these rows misses the true one.

    Of the log-likelihood in b = 1 / T the curvature is the sum of the logits' variances under the
    model; so b has the standard error sqrt(1 / sum), and T that times T squared.
    """
    probable = shares(logits, temperature)
    mean = (probable * logits).sum(axis=1)
    variance = (probable * logits.astype(float) ** 2).sum(axis=1) - mean**2
    return float(temperature**2 / math.sqrt(variance.sum()))


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    logits, truth = made(8000, 5, temperature, seed=11)
    error = standard_error(logits, temperature)
    assert error < 0.03 * temperature, "it could be anything"
    assert fit_temperature(logits, truth) == pytest.approx(temperature, abs=4 * error)


@pytest.mark.parametrize(("rows", "labels", "seed"), [(7, 2, 1), (60, 3, 2), (500, 28, 3)])
def test_it_is_the_lowest_point_that_scipy_finds(rows: int, labels: int, seed: int) -> None:
    logits, truth = made(rows, labels, temperature=1.3, seed=seed)
    lowest = minimize_scalar(
        lambda at: expected_loss(logits, truth, math.exp(at)),
        bounds=(math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    assert fit_temperature(logits, truth) == pytest.approx(math.exp(lowest.x), rel=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rows", [2, 20, 200])
def test_it_never_makes_the_log_loss_of_its_own_rows_worse(rows: int, seed: int) -> None:
    logits, truth = made(rows, 4, temperature=0.4 + 0.4 * seed, seed=100 + seed)
    found = fit_temperature(logits, truth)
    assert expected_loss(logits, truth, found) <= expected_loss(logits, truth, 1.0) + 1e-9
    # What is made small counts, beside the rows, one doubtful row in all: the plain loss can
    # rise by no more than what the other labels' surprise was, shared out among the rows.
    surprise = -np.log(shares(logits))
    others = (surprise.sum() - surprise[range(rows), truth].sum()) / (3 * rows)
    slack = others / (rows + 1)
    assert log_loss(logits, truth, found) <= log_loss(logits, truth) + slack


def test_on_as_many_rows_as_a_validation_split_has_it_only_gains() -> None:
    for temperature in (0.5, 2.0):
        logits, truth = made(2000, 6, temperature, seed=5)
        gained = log_loss(logits, truth) - log_loss(logits, truth, fit_temperature(logits, truth))
        assert gained > 0.02


def test_rows_that_are_all_right_prove_no_certainty() -> None:
    # All of one margin m and right: sigmoid(m / T) = 1 - 1 / (n + 2), so T = m / ln(n + 1).
    logits = f32([[5.0, 0.0], [0.0, 5.0]] * 10)
    assert fit_temperature(logits, [0, 1] * 10) == pytest.approx(5 / math.log(21), rel=1e-4)


def test_rows_that_are_all_wrong_or_say_nothing_give_a_temperature_within_the_limits() -> None:
    for logits, truth in (
        (f32([[5.0, 0.0]] * 10), [1] * 10),
        (f32([[0.0, 0.0]] * 10), [0] * 10),
        (f32([[900.0, 0.0]] * 10), [0] * 10),
    ):
        assert LOWEST_TEMPERATURE <= fit_temperature(logits, truth) <= HIGHEST_TEMPERATURE
    assert fit_temperature(f32([[5.0, 0.0]] * 10), [1] * 10) == pytest.approx(20, rel=1e-4)


def test_a_label_that_no_row_has_does_no_harm() -> None:
    logits, truth = made(4000, 3, temperature=1.5, seed=8)
    kept = [row for row, label in enumerate(truth) if label != 2]
    two, true_of_two = logits[kept], [truth[row] for row in kept]
    # Between the other two the shares are as they were.
    two[:, 2] = -20.0
    error = standard_error(two, 1.5)
    assert fit_temperature(two, true_of_two) == pytest.approx(1.5, abs=4 * error)


def test_the_calibration_error_equals_what_a_hand_works_out() -> None:
    logits, truth = of_confidence(
        *((0.95, right) for right in (True, True, True, False)),
        *((0.70, right) for right in (True, True, False, False)),
        *((0.55, right) for right in (True, False)),
    )
    found = reliability(logits, truth)
    assert [each.rows for each in found] == [2, 4, 4]
    assert [each.accuracy for each in found] == [0.5, 0.5, 0.75]
    assert [each.confidence for each in found] == pytest.approx([0.55, 0.70, 0.95])
    assert [(each.lower * 15, each.upper * 15) for each in found] == [
        pytest.approx(edges) for edges in ((8, 9), (10, 11), (14, 15))
    ]
    # 0.2 x 0.05 + 0.4 x 0.20 + 0.4 x 0.20
    assert calibration_error(found) == pytest.approx(0.17)


def test_within_a_bin_too_sure_and_too_unsure_rows_make_up_for_each_other() -> None:
    logits, truth = of_confidence(*((0.94, True), (0.98, True), (0.96, False)) * 2)
    assert calibration_error(reliability(logits, truth)) == pytest.approx(0.96 - 4 / 6)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it() -> None:
    # Shares that are exactly an edge: 1/15, 3/15 and 5/15 of equal logits, and 15/15.
    for labels, upper in ((15, 1), (5, 3), (3, 5)):
        (only,) = reliability(f32([[0.0] * labels]), [0])
        assert (only.lower, only.upper) == ((upper - 1) / 15, upper / 15)
        assert only.confidence == only.upper
    (last,) = reliability(f32([[1000.0, 0.0]]), [0])
    assert (last.lower, last.upper, last.confidence) == (14 / 15, 1.0, 1.0)
    # And just above it to the next.
    (above,) = reliability(f32([[1e-5, 0.0, 0.0]]), [0])
    assert (above.lower, above.upper) == (5 / 15, 6 / 15)


@pytest.mark.parametrize("temperature", [1.0, 2.2])
def test_it_is_the_papers_definition(temperature: float) -> None:
    logits, truth = made(3000, 6, temperature=1.2, seed=21)
    confidences = shares(logits, temperature).max(axis=1)
    right = logits.argmax(axis=1) == np.asarray(truth)
    error = 0.0
    for m in range(1, 16):
        inside = (confidences > (m - 1) / 15) & (confidences <= m / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    found = reliability(logits, truth, temperature)
    assert calibration_error(found) == pytest.approx(error, rel=1e-9)
    assert sum(each.rows for each in found) == 3000


def test_the_right_temperature_brings_the_error_down_to_what_chance_leaves() -> None:
    logits, truth = made(8000, 6, temperature=2.0, seed=4)
    before = calibration_error(reliability(logits, truth))
    after = calibration_error(reliability(logits, truth, fit_temperature(logits, truth)))
    assert before > 0.15
    # A share of n rows misses by sqrt(1 / 4n) at most, on average; 15 bins have 8,000 rows.
    assert after < math.sqrt(1 / (4 * 8000 / 15))


def test_the_error_is_weighed_by_rows() -> None:
    bins = [Bin(0.0, 0.5, 3, 0.4, 0.5), Bin(0.5, 1.0, 1, 0.9, 0.4)]
    assert calibration_error(bins) == pytest.approx((3 * 0.1 + 1 * 0.5) / 4)
