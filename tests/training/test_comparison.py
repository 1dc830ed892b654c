"""Two versions on the same rows: McNemar's test, who alone was right, the table for people."""

from pathlib import Path

import pytest
from scipy.stats import binomtest

from tests.training.conftest import Moods
from tests.training.made_evaluations import comparison
from tests.training.moods import read_rows, settings_of
from training.comparison import compare_with, comparison_record, comparison_rows, mcnemar
from training.data import read_data
from training.evaluation import evaluate, registered
from worker import Classifier


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 32),
        (6, 0, 2 / 64),
        # Twice (1 + 10 + 45) of 2^10 ways, and twice (1 + 11 + 55) of 2^11.
        (2, 8, 112 / 1024),
        (9, 2, 134 / 2048),
    ],
)
def test_mcnemars_p_equals_what_a_hand_works_out(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == p


def test_mcnemars_p_is_scipys_exact_binomial_test() -> None:
    for one, other in ((3, 4), (12, 30), (30, 12), (100, 141), (1200, 1301), (9000, 9300)):
        theirs = binomtest(one, one + other, 0.5).pvalue
        assert mcnemar(one, other) == pytest.approx(theirs, rel=1e-9)


def test_rows_that_one_alone_has_right_are_counted_by_who() -> None:
    compared = comparison(
        "ab",
        [(5, "a", "a"), (3, "a", "a"), (2, "a", "b"), (4, "b", "a"), (6, "b", "b")],
        [(5, "a", "a"), (3, "a", "b"), (2, "a", "a"), (4, "b", "a"), (6, "b", "b")],
    )
    assert (compared.only_before, compared.only_after) == (3, 2)
    assert compared.p == 1.0
    record = comparison_record(compared)
    assert (record["with"], record["split"]) == ("mood:1", "test")
    assert record["accuracy"] == [14 / 20, 13 / 20]
    # F1 of a: before 16/22, after 14/21; of b: 12/18 and 12/19.
    assert record["f1"] == {
        "a": pytest.approx([16 / 22, 14 / 21]),
        "b": pytest.approx([12 / 18, 12 / 19]),
    }
    assert record["macro_f1"][0] == pytest.approx((16 / 22 + 12 / 18) / 2)
    assert (record["only_right_before"], record["only_right_after"], record["mcnemar_p"]) == (
        3,
        2,
        1,
    )


def test_the_table_shows_both_and_the_change() -> None:
    compared = comparison(
        "ab",
        [(8, "a", "a"), (2, "a", "b"), (10, "b", "b")],
        [(8, "a", "a"), (2, "a", "a"), (10, "b", "b")],
    )
    rows = comparison_rows(compared)
    assert rows[0] == ("test", "mood:1", "candidate", "change")
    assert rows[1] == ("accuracy", "0.9000", "1.0000", "+0.1000")
    by_name = {row[0]: row[1:] for row in rows}
    # Of a: 16/18; of b: 20/22.
    assert by_name["F1 a"] == ("0.8889", "1.0000", "+0.1111")
    assert by_name["F1 b"] == ("0.9091", "1.0000", "+0.0909")
    assert by_name["macro-F1"] == ("0.8990", "1.0000", "+0.1010")
    assert by_name["only right there"] == ("0", "2", "")
    assert by_name["McNemar's p"] == ("", "0.5000", "")
    assert {"log loss", "calibration error"} <= by_name.keys()


def test_both_are_measured_with_the_engine_of_the_candidate_whatever_serves(
    moods: Moods, tmp_path: Path
) -> None:
    home, data = moods.copied(tmp_path / "home"), read_data(str(moods.data))
    with registered("mood:1", settings_of(home, engine="torch")) as classifier:
        after = evaluate(classifier, data, "test")
    # Auto would serve it in 8 bits here.
    compared = compare_with("mood:1", after, data, settings_of(home, engine="auto"))
    assert (compared.before.engine, compared.after.engine) == ("torch", "torch")
    assert (compared.only_before, compared.only_after) == (0, 0)


def test_a_candidate_is_compared_by_what_both_classifiers_say_of_the_same_rows(
    moods: Moods,
) -> None:
    rows = read_rows(moods.data / "test.txt")
    texts, truth = [text for text, _ in rows], [label for _, label in rows]
    right = []
    for name in ("mood:1", "mood:2"):
        with Classifier.load(name, settings=settings_of(moods.home)) as classifier:
            right.append(
                [
                    said["label"] == label
                    for said, label in zip(classifier(texts), truth, strict=True)
                ]
            )
    first, second = right
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    assert moods.first["comparison"] is None, "there was nothing to compare it with"
    compared = moods.second["comparison"]
    assert (compared["with"], compared["split"]) == ("mood:1", "test")
    assert compared["accuracy"] == pytest.approx([sum(first) / 216, sum(second) / 216])
    assert (compared["only_right_before"], compared["only_right_after"]) == (
        only_first,
        only_second,
    )
    assert compared["mcnemar_p"] == pytest.approx(
        binomtest(only_first, only_first + only_second, 0.5).pvalue
    )
    for label, (before, after) in compared["f1"].items():
        assert before == moods.first["per_class"][label]["f1"]
        assert after == moods.second["per_class"][label]["f1"]
