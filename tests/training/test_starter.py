"""The starter model in the project: its figures, its card, its head and labels."""

import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from training.model_card import model_card
from worker.bases import STARTER_BASE, STARTER_BASE_SHA256
from worker.starter import ADAPTER

METADATA = json.loads((ADAPTER / "labelstream.json").read_text(encoding="utf-8"))
CARD = (ADAPTER / "README.md").read_text(encoding="utf-8")
LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]


def test_the_card_is_made_from_the_metadata() -> None:
    assert model_card(METADATA) == CARD


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_figures_follow_from_the_confusion_matrix(split: str) -> None:
    measured = METADATA["metrics"][split]
    confusion = measured["confusion"]
    assert sum(map(sum, confusion)) == measured["rows"] == 2000
    hits = [confusion[i][i] for i in range(6)]
    predicted = [sum(row[i] for row in confusion) for i in range(6)]
    f1 = [2 * hits[i] / (sum(confusion[i]) + predicted[i]) for i in range(6)]
    assert measured["accuracy"] == pytest.approx(sum(hits) / 2000)
    assert measured["macro_f1"] == pytest.approx(sum(f1) / 6)
    assert [one["f1"] for one in measured["per_class"].values()] == pytest.approx(f1)
    assert (
        f"2,000 rows: accuracy {measured['accuracy']:.4f}, macro-F1 {measured['macro_f1']:.4f},"
        in CARD
    )


def test_it_is_above_the_reference_and_chosen_by_validation_alone() -> None:
    by_validation = max(METADATA["epochs"], key=lambda epoch: epoch["validation_macro_f1"])
    assert METADATA["epoch"] == by_validation["epoch"]
    assert METADATA["metrics"]["validation"]["macro_f1"] == by_validation["validation_macro_f1"]
    assert METADATA["metrics"]["test"]["accuracy"] > 0.914
    assert METADATA["metrics"]["test"]["macro_f1"] > 0.874


def test_its_confidence_means_what_it_says() -> None:
    measured = METADATA["metrics"]["test"]
    assert METADATA["temperature"] == {"torch": METADATA["metrics"]["validation"]["temperature"]}
    assert measured["ece_calibrated"] <= 0.025 < measured["ece"]


def test_terms_base_and_recipe_stand_in_the_metadata_and_the_card() -> None:
    assert METADATA["labels"] == LABELS
    assert METADATA["base"] == STARTER_BASE
    assert METADATA["base_sha256"]["model.safetensors"] == STARTER_BASE_SHA256
    assert METADATA["seed"] == 42
    recipe = METADATA["hyper_parameters"]
    assert (recipe["lora_r"], recipe["lora_alpha"], recipe["lora_dropout"]) == (8, 16, 0.1)
    assert METADATA["license"].startswith("educational and research use only")
    assert CARD.count("educational and research use only") >= 2
    assert "Saravia" in CARD


def test_the_adapter_names_its_base_and_has_one_row_of_its_head_per_label() -> None:
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == STARTER_BASE
    labels = json.loads((ADAPTER / "config.json").read_text())["id2label"]
    assert [labels[str(i)] for i in range(6)] == LABELS
    with safe_open(ADAPTER / "adapter_model.safetensors", framework="numpy") as tensors:
        head = [name for name in tensors.keys() if name.endswith("classifier.weight")]  # noqa: SIM118
        assert [tensors.get_slice(name).get_shape() for name in head] == [[6, 384]]


@pytest.mark.parametrize("path", sorted(ADAPTER.iterdir()), ids=lambda path: path.name)
def test_no_file_of_it_is_a_pickle_or_tells_a_path(path: Path) -> None:
    assert path.suffix in {".json", ".md", ".html", ".safetensors", ".txt"}
    if path.suffix != ".safetensors":
        assert not re.search(r"/(home|root|work|tmp|usr)/|\.venv|\.\./", path.read_text())
