"""What corrections make of labelled data: who outranks whom, what is left out, what is counted."""

from pathlib import Path

import pytest

from db.corrections import TextCorrection
from db.errors import UsageError
from db.text import text_key
from tests.training.moods import LabelledText, write_splits
from training.data import LabelledData, read_data
from training.retraining import corrected_data


@pytest.fixture
def data(tmp_path: Path) -> LabelledData:
    folder = write_splits(
        tmp_path / "data",
        train=[("one", "a"), ("two", "b"), ("one", "a"), ("three", "a"), ("a  test", "b")],
        val=[("a check", "a"), ("b check", "b")],
        test=[("a test", "a")],
    )
    return read_data(str(folder))


def corrections(**labels: str) -> dict[str, TextCorrection]:
    """Corrections by text, in which `_` is a blank."""
    texts = {name.replace("_", " "): label for name, label in labels.items()}
    return {text_key(text): TextCorrection(text, label) for text, label in texts.items()}


def pairs(data: LabelledData) -> list[LabelledText]:
    return [
        (text, data.labels[label])
        for text, label in zip(data.train.texts, data.train.label_ids, strict=True)
    ]


def test_a_correction_outranks_the_label_of_every_row_with_its_text(data: LabelledData) -> None:
    found, counts = corrected_data(data, corrections(one="b", three="a", new="b"))
    assert pairs(found) == [("one", "b"), ("two", "b"), ("one", "b"), ("three", "a"), ("new", "b")]
    assert (counts.relabelled, counts.confirmed, counts.added) == (1, 1, 1)
    assert found.fingerprint != data.fingerprint
    assert (found.validation, found.test) == (data.validation, data.test)


def test_nothing_is_fitted_on_a_text_that_is_held_out(data: LabelledData) -> None:
    found, counts = corrected_data(data, corrections(a_check="b", a_test="b", two="a"), 3)
    assert pairs(found) == [("one", "a"), ("two", "a"), ("one", "a"), ("three", "a")]
    # The row of the original data that stands in test too is left out as well.
    assert (counts.held_out, counts.overlapping, counts.without_text) == (2, 1, 3)
    assert "1 training rows stand in validation or test too and were left out." in found.notes


def test_the_same_corrections_in_another_order_are_the_same_data(data: LabelledData) -> None:
    given = corrections(**{f"new_{number}": "ab"[number % 2] for number in range(50)}, one="b")
    found, _ = corrected_data(data, given)
    assert corrected_data(data, dict(reversed(given.items())))[0] == found
    # In one order in every process, whatever a set makes of it: the same fit is the same adapter.
    new = [text for text, _ in pairs(found) if text.startswith("new")]
    assert new == sorted(new, key=text_key)
    assert len(new) == 50


def test_a_label_that_the_data_does_not_have_is_refused(data: LabelledData) -> None:
    with pytest.raises(UsageError, match=r"corrected to 'c', which data does not have .*\(a, b\)"):
        corrected_data(data, corrections(one="c"))
    # Nothing is asked of what is left out anyway.
    assert corrected_data(data, corrections(a_test="c"))[1].held_out == 1


def test_data_of_which_every_row_is_held_out_is_refused(tmp_path: Path) -> None:
    rows = [("one", "a"), ("two", "b")]
    data = read_data(str(write_splits(tmp_path / "same", train=rows, val=rows, test=rows)))
    with pytest.raises(UsageError, match="every training row of same stands in validation or test"):
        corrected_data(data, {})
    assert pairs(corrected_data(data, corrections(three="a"))[0]) == [("three", "a")]
