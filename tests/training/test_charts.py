"""The charts of a page: what they show of their figures, and that odd figures can be drawn."""

import numpy as np

from tests.training.html_page import Page, chart_words
from training.calibration import reliability
from training.charts import confusion_matrix, learning_curve, reliability_diagram


def test_a_reliability_diagram_has_a_point_a_bin_before_and_after() -> None:
    chance = np.random.default_rng(2)
    logits = chance.normal(0, 2, (300, 3)).astype(np.float32)
    truth = chance.integers(0, 3, 300).tolist()
    before, after = reliability(logits, truth), reliability(logits, truth, 3.0)
    chart = Page(reliability_diagram(before, after)).charts[0]
    collections = {each.get("id"): each for each in chart.iter()}
    for number, bins in enumerate((before, after), 1):
        points = collections[f"PathCollection_{number}"].findall("./{*}path")
        assert len(points) == len(bins)
    assert {"confidence = accuracy", "as it is", "calibrated", "rows"} <= set(chart_words(chart))


def test_a_matrix_of_many_labels_has_no_numbers_and_one_of_few_has_all() -> None:
    for labels, numbered in ((16, True), (17, False), (77, False)):
        names = [f"label {n}" for n in range(labels)]
        counts = np.eye(labels, dtype=int) * 5
        words = chart_words(Page(confusion_matrix(names, counts.tolist())).charts[0])
        assert words.count("5") == (labels if numbered else 0)
        assert set(names) <= set(words)


def test_a_label_without_rows_and_a_single_epoch_can_be_drawn() -> None:
    words = chart_words(Page(confusion_matrix("ab", [[3, 0], [0, 0]])).charts[0])
    assert words.count("0") == 3
    epoch = {"epoch": 1, "loss": 0.5, "validation_accuracy": 0.5, "validation_macro_f1": 0.4}
    words = chart_words(Page(learning_curve([epoch], 1)).charts[0])
    assert [word for word in words if word.isdigit()] == ["1", "1"]
