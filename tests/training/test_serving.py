"""What was fitted is what serves: registered, merged, loaded by the worker and by transformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import pipeline

from db.errors import RegistryError
from db.registry.aliases import list_aliases
from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import list_versions, resolve
from db.settings import Settings
from db.store import Store, open_store
from tests.training.test_fit import TINY, write_data
from training.artifact import Provenance, write_adapter
from training.data import read_data
from training.fit import Fit, fit
from training.registering import register
from worker import Classifier
from worker.predictions import probabilities
from worker.preparing import prepare

TEXTS = ["i love this bright and happy morning", "a cold and miserable night full of pain"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("served") / "home"
    return Settings(_env_file=None, home_dir=home, device="cpu")


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    store = open_store(settings)
    prepare(store, settings)
    yield store
    store.close()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """Fit an adapter, and write it to a folder."""
    folder = tmp_path_factory.mktemp("fitted")
    data = read_data(str(write_data(folder / "tiny")))
    finished = fit(data, TINY)
    provenance = Provenance("mood", "tiny", license="ours", language="en")
    write_adapter(finished, data, provenance, folder / "adapter")
    return finished, folder / "adapter"


def test_a_registered_fit_is_served_by_the_classifier_and_by_a_plain_pipeline(
    settings: Settings, store: Store, fitted: tuple[Fit, Path]
) -> None:
    finished, adapter = fitted
    assert str(register(store, artifact_store(settings), adapter, "mood")) == "mood:1"
    with Classifier.load("mood:1", settings=settings) as classifier:
        logits = classifier.logits(TEXTS)
        ours = classifier(TEXTS, top_k=None)
    merged = Path(settings.registry) / str(resolve(store, parse_ref("mood:1")).merged)
    plain: Any = pipeline("text-classification", model=str(merged), device="cpu")
    shares = probabilities(logits)
    for mine, theirs, share in zip(ours, plain(TEXTS, top_k=None), shares, strict=True):
        assert [one["label"] for one in mine] == [one["label"] for one in theirs]
        # A pipeline knows nothing of the temperature, by which our confidence is corrected.
        scores = [one["score"] for one in theirs]
        assert sorted(share, reverse=True) == pytest.approx(scores, abs=1e-4)
    # And both are what the model said that was fitted here, before it was merged.
    for text, row in zip(TEXTS, logits, strict=True):
        batch = plain.tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            before = finished.model.eval()(**batch).logits[0].tolist()
        assert row.tolist() == pytest.approx(before, abs=1e-4)


def test_the_first_version_of_a_model_becomes_its_production_and_later_ones_wait(
    settings: Settings, store: Store, fitted: tuple[Fit, Path]
) -> None:
    first, second = (register(store, artifact_store(settings), fitted[1], "tone") for _ in range(2))
    assert (first.version, second.version) == (1, 2)
    assert list_aliases(store)["tone", "production"] == 1
    assert first.adapter != second.adapter
    assert dict(first.adapter_sha256) == dict(second.adapter_sha256)


def test_of_a_model_that_is_there_already_a_fit_is_the_next_version(
    settings: Settings, store: Store, fitted: tuple[Fit, Path]
) -> None:
    made = register(store, artifact_store(settings), fitted[1], "emotion")
    assert str(made) == "emotion:2"
    assert list_aliases(store)["emotion", "production"] == 1
    assert (made.labels, made.base, made.license) == (("bad", "good"), TINY.base, "ours")


def test_a_folder_that_is_no_adapter_is_not_registered(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    before = len(list_versions(store)), len(list(Path(settings.registry).iterdir()))
    (tmp_path / "labelstream.json").write_text('{"format_version": 1}')
    with pytest.raises(RegistryError, match=r"labelstream\.json is damaged") as raised:
        register(store, artifact_store(settings), tmp_path, "mood")
    assert "\n" not in str(raised.value)
    assert (len(list_versions(store)), len(list(Path(settings.registry).iterdir()))) == before
