"""A base whose config.json asks for more than logits, or for them without a name, is fitted and serves."""

import json
from pathlib import Path

import numpy as np

from tests.tiny_models import WORDS, tiny_base, write_rows
from tests.training.conftest import merge
from tests.training.moods import said, settings_of
from worker import Classifier


def test_a_base_that_gives_hidden_states_in_a_tuple_is_fitted_and_serves(tmp_path: Path) -> None:
    base, home = tiny_base(tmp_path / "base"), tmp_path / "home"
    config = json.loads((base / "config.json").read_text())
    asked = {"output_hidden_states": True, "output_attentions": True, "return_dict": False}
    (base / "config.json").write_text(json.dumps({**config, **asked}))
    said(
        home, "fit", "--data", write_rows(tmp_path / "rows", ("bad", "good")),
        "--model", "mood", "--base", base, "--epochs", 1, "--batch-size", 16, "--max-length", 32,
    )  # fmt: skip
    merge(home, "mood:1")
    with Classifier.load("mood:1", settings=settings_of(home)) as classifier:
        logits = classifier.logits(WORDS)
    assert logits.shape == (len(WORDS), 2)
    assert np.isfinite(logits).all()
