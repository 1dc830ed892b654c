"""Merging: the merged model is the adapter's, byte for byte the same each time, and never wrong."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from db.errors import RegistryError
from db.registry.artifact_files import sha256_of
from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import NewVersion, Version, add_version, list_versions, resolve
from db.settings import Settings
from db.store import Store
from worker.bases import resolve_base
from worker.merge import merge_version, write_merged
from worker.serving import ensure_merged
from worker.starter import ADAPTER

TEXTS = ["i feel wonderful", "i am so afraid of the dark", "", "what? " * 200, "naïve 🙂"]


@pytest.fixture
def own(starter_settings: Settings, tmp_path: Path) -> tuple[Store, Settings]:
    """Copy the starter's home, for a test that damages it."""
    shutil.copytree(starter_settings.home, tmp_path / "home")
    settings = Settings(_env_file=None, home_dir=tmp_path / "home")
    return Store(settings.store_url), settings


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in folder.iterdir()}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_merged_model_computes_what_the_base_with_its_adapter_does(
    starter: Version, merged: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(merged).eval()
    base: Any = AutoModelForSequenceClassification.from_pretrained(
        resolve_base(starter.base).path, num_labels=6
    )
    adapted = PeftModel.from_pretrained(base, str(ADAPTER)).eval()
    tokenizer = AutoTokenizer.from_pretrained(merged)
    batch = tokenizer(TEXTS, truncation=True, max_length=128, padding=True, return_tensors="pt")
    with torch.inference_mode():
        difference = model(**batch).logits - adapted(**batch).logits
    assert difference.abs().max().item() < 1e-5
    assert tuple(model.config.id2label.values()) == starter.labels


def test_merging_twice_gives_the_same_bytes(
    starter_settings: Settings, starter: Version, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    write_merged(artifact_store(starter_settings), starter, tmp_path / "again")
    assert hashes(tmp_path / "again") == starter.merged_sha256


def test_a_damaged_merged_model_is_made_anew_with_the_same_bytes(
    own: tuple[Store, Settings], starter: Version
) -> None:
    store, settings = own
    damaged = Path(settings.registry) / str(starter.merged)
    damage(damaged / "model.safetensors")
    folder = ensure_merged(store, settings, starter)
    assert folder != damaged
    assert not damaged.exists(), "what is damaged is removed"
    assert hashes(folder) == starter.merged_sha256
    assert resolve(store, parse_ref("emotion:1")).merged == folder.name


def test_a_good_merged_model_is_left_as_it_is(own: tuple[Store, Settings]) -> None:
    store, settings = own
    before = resolve(store, parse_ref("emotion:1"))
    merge_version(store, artifact_store(settings), before)
    assert resolve(store, parse_ref("emotion:1")) == before
    assert len(list(Path(settings.registry).iterdir())) == 2


def refused(settings: Settings, version: Version, folder: Path) -> str:
    """Return the one line with which `version` is refused."""
    folder.mkdir()
    with pytest.raises(RegistryError) as error:
        write_merged(artifact_store(settings), version, folder)
    line = str(error.value)
    assert "\n" not in line
    assert not list(folder.iterdir()), "nothing was written"
    return line


def test_a_damaged_adapter_is_refused_by_the_command_in_one_line(
    own: tuple[Store, Settings], starter: Version
) -> None:
    store, settings = own
    damage(Path(settings.registry) / starter.adapter / "adapter_model.safetensors")
    shutil.rmtree(Path(settings.registry) / str(starter.merged))
    with pytest.raises(RegistryError) as error:
        ensure_merged(store, settings, starter)
    line = str(error.value)
    assert line.startswith("model emotion:1 could not be merged: ")
    assert line.endswith(
        "adapter_model.safetensors is damaged: its SHA-256 is not the registered one"
    )
    assert "\n" not in line


def test_a_head_that_does_not_fit_the_labels_is_refused_with_both_sizes(
    starter_settings: Settings, starter: Version, tmp_path: Path
) -> None:
    version = replace(starter, labels=("good", "bad"), merged=None)
    line = refused(starter_settings, version, tmp_path / "merged")
    assert "has a head of 6 classes, but 2 label names" in line


def test_another_base_than_the_one_it_was_fitted_on_is_refused(
    starter_settings: Settings, starter: Version, tmp_path: Path
) -> None:
    other = {**starter.base_sha256, "config.json": "0" * 64}
    version = replace(starter, base_sha256=other, merged=None)
    line = refused(starter_settings, version, tmp_path / "merged")
    assert "has another config.json than model emotion:1 was fitted on" in line


def test_an_adapter_some_of_whose_weights_have_no_place_is_refused(
    own: tuple[Store, Settings], starter: Version, tmp_path: Path
) -> None:
    store, settings = own
    odd = tmp_path / "odd"
    shutil.copytree(ADAPTER, odd)
    config = odd / "adapter_config.json"
    config.write_text(config.read_text().replace('"query"', '"no_such_layer"'))
    location, published = artifact_store(settings).publish(odd)
    names = ("model", "base", "base_revision", "base_sha256", "labels", "max_length")
    given = {name: getattr(starter, name) for name in names}
    version = add_version(
        store, NewVersion(**given, adapter=location, adapter_sha256=published), who="test"
    )
    assert [str(one) for one in list_versions(store)] == ["emotion:1", "emotion:2"]
    line = refused(settings, version, tmp_path / "merged")
    assert "weights do not fit its base and its adapter_config.json" in line
