"""The starter's probe texts: 500 of our own writing, 300 to calibrate and 200 to check."""

import re
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

LINES = (
    (ROOT / "worker" / "starter" / "adapter" / "probe_texts.txt")
    .read_text(encoding="utf-8")
    .split("\n")
)
TEXTS = LINES[:-1]
EMOTION = ROOT.parent / "shared" / "data" / "emotion"


def bare(text: str) -> str:
    """The text without case and punctuation, as the training data writes it."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def test_there_are_500_texts_and_no_two_are_the_same() -> None:
    assert LINES[-1] == ""
    assert len(TEXTS) == 500
    assert len({bare(text) for text in TEXTS}) == 500


def test_every_text_is_one_clean_line_of_5_to_60_words() -> None:
    assert all(text == text.strip() and text.isprintable() for text in TEXTS)
    assert [text for text in TEXTS if not 5 <= len(text.split()) <= 60] == []


def test_no_text_comes_from_the_training_data() -> None:
    files: list[Path] = sorted(EMOTION.glob("*.txt"))
    if not files:
        pytest.skip("needs ../shared/data/emotion, which is not here")
    known = {
        bare(line.rpartition(";")[0])
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
    }
    assert len(known) > 15_000
    assert not known & {bare(text) for text in TEXTS}
