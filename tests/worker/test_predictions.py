"""Labels, confidences and scores, against numbers worked out by hand."""

import json
import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.predictions import predict, probabilities


def f32(rows: list[list[float]]) -> npt.NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_scores_are_the_softmax_of_the_logits() -> None:
    said = predict(f32([[math.log(1), math.log(3), math.log(6)]]), labels=("a", "b", "c"))
    assert said.labels == ["c"]
    assert said.confidences == [pytest.approx(0.6, abs=1e-6)]
    (scores,) = map(json.loads, said.scores)
    assert scores == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.6}, abs=1e-6)
    assert list(scores) == ["a", "b", "c"]
    assert said.every_label == [None]
    assert said.unsure == [False]


def test_scores_are_json_whatever_a_label_is_called_and_however_small_a_share_is() -> None:
    labels = ('say "%s"', "100 % \\ sure", "naïve\n", "{0}")
    said = predict(f32([[0.0, 11.5, 30.0, -90.0]]), labels=labels)
    (scores,) = map(json.loads, said.scores)
    assert tuple(scores) == labels
    assert list(scores.values()) == [0.0, 0.0, 1.0, 0.0]
    (faint,) = map(json.loads, predict(f32([[0.0, 13.0]]), labels=("a", "b")).scores)
    assert faint == {"a": 2e-06, "b": 0.999998}


def test_a_temperature_flattens_and_never_changes_the_label() -> None:
    logits = f32([[math.log(1), math.log(9)]])
    warm = predict(logits, labels=("a", "b"), temperature=2.0)
    assert warm.labels == ["b"]
    assert warm.confidences == [pytest.approx(0.75, abs=1e-6)]


def test_unsure_is_what_lies_below_the_threshold() -> None:
    logits = f32([[math.log(1), math.log(3)], [0.0, 5.0]])
    said = predict(logits, labels=("a", "b"), unsure_below=0.8)
    assert said.unsure == [True, False]
    exactly = predict(f32([[0.0, 0.0]]), labels=("a", "b"), unsure_below=0.5)
    assert exactly.unsure == [False]


def test_each_label_of_a_multi_label_model_stands_for_itself() -> None:
    logits = f32([[0.0, math.log(3), -math.log(3)], [-5.0, -4.0, -6.0]])
    said = predict(logits, labels=("a", "b", "c"), multi_label=True)
    first = json.loads(said.scores[0])
    assert first == pytest.approx({"a": 0.5, "b": 0.75, "c": 0.25}, abs=1e-6)
    assert said.every_label == ['["a","b"]', "[]"]
    assert said.labels == ["b", "b"]
    assert said.confidences[0] == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_of_any_size_give_finite_shares_without_a_warning(multi_label: bool) -> None:
    extreme = f32([[3e38, -3e38, 0.0], [-3e38, -3e38, -3e38], [90.0, 89.0, -1000.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = probabilities(extreme, multi_label=multi_label)
    assert np.isfinite(shares).all()
    assert ((shares >= 0) & (shares <= 1)).all()


@given(
    st.lists(
        st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4), min_size=1, max_size=20
    ),
    st.floats(0.1, 10),
)
def test_shares_add_up_to_one_and_the_largest_logit_wins(
    rows: list[list[float]], temperature: float
) -> None:
    shares = probabilities(f32(rows), temperature)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    said = predict(f32(rows), labels="abcd", temperature=temperature)
    for row, label, confidence, scores in zip(
        rows, said.labels, said.confidences, said.scores, strict=True
    ):
        assert row["abcd".index(label)] == max(row)
        assert confidence == max(json.loads(scores).values())


def test_no_rows_are_no_predictions() -> None:
    said = predict(np.zeros((0, 3), np.float32), labels="abc")
    assert (said.labels, said.confidences, said.scores) == ([], [], [])
    assert (said.every_label, said.unsure) == ([], [])


def test_rows_that_are_rejected_anyway_do_no_harm_to_the_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = predict(f32([[np.nan, 1.0], [0.0, 5.0], [np.inf, np.inf]]), labels=("a", "b"))
    assert said.labels[1] == "b"
