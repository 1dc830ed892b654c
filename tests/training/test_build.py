"""`training build`: calibrated on the data's texts, checked on the rest, shown with the version."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.registry.artifacts import artifact_store
from db.registry.builds import Build, list_builds, record_build
from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.store import open_store
from tests.db.test_artifact_cache import files_of_at_most
from tests.tiny_models import WORDS
from tests.training.conftest import Moods
from tests.training.moods import QUICK, refused, said, settings_of, write_splits
from worker.builds import Unbuildable, build_key
from worker.engines.protocol import Ids, Logits
from worker.engines.torch_engine import TorchEngine
from worker.int8 import building


@pytest.fixture
def home(moods: Moods, tmp_path: Path) -> Path:
    return moods.copied(tmp_path / "home")


def test_a_version_is_built_from_its_data_and_serves_so_from_then_on(
    moods: Moods, home: Path
) -> None:
    before = json.loads(said(home, "evaluate", "mood:1", "--data", moods.data, "--json"))
    assert before["engine"] == "torch"
    built = json.loads(said(home, "build", "mood:1", "--data", moods.data, "--json"))
    # Those of validation and test.
    assert built["rows"] == 90 + 216
    assert built["agreement"] >= 0.99
    assert built["engine"] == "openvino"
    after = json.loads(
        said(home, "evaluate", "mood:1", "--data", moods.data, "--json", engine="auto")
    )
    assert after["engine"] == "openvino"
    assert after["accuracy"] == pytest.approx(before["accuracy"], abs=0.02)
    assert built["accuracy"] == pytest.approx(before["accuracy"], abs=0.05)


def test_a_build_takes_the_files_of_older_engines_away(
    moods: Moods, home: Path, tmp_path: Path
) -> None:
    settings = settings_of(home)
    store = open_store(settings)
    version = resolve(store, parse_ref("mood:1"))
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "model.xml").write_text("<net>")
    folders = set(Path(settings.registry).iterdir())
    # As two machines recorded them that did not know of each other.
    for engine_version in ("2025.4.1", "2024.6.0"):
        location, hashes = artifact_store(settings).publish(tmp_path / "older")
        older = replace(build_key(), engine_version=engine_version)
        record_build(store, version, older, Build(location, hashes, 1.0, None), who="me")
    said(home, "build", "mood:1", "--data", moods.data)
    [(key, build)] = list_builds(store, version)
    assert key == build_key()
    assert set(Path(settings.registry).iterdir()) - folders == {
        Path(settings.registry) / build.location
    }
    store.close()


def test_show_tells_of_a_build_and_of_its_damage(moods: Moods, home: Path) -> None:
    said(home, "build", "mood:1", "--data", moods.data)
    detail = json.loads(said(home, "show", "mood:1", "--json"))
    [build] = detail["builds"]
    assert build["engine_version"] == build_key().engine_version
    assert build["cpu_features"] == build_key().cpu_features
    assert detail["damage"] == []
    (Path(build["files"]) / "model.xml").unlink()
    shown = said(home, "show", "mood:1")
    assert f"build: openvino {build_key().engine_version} on " in shown
    assert "damaged: build for openvino: " in shown
    # The other version has none.
    assert json.loads(said(home, "show", "mood:2", "--json"))["builds"] == []


def test_a_version_keeps_texts_of_its_data_to_be_built_from(home: Path) -> None:
    built = json.loads(said(home, "build", "mood:1", "--json"))
    # Two in five of the 90 of validation; the other three showed what it reads.
    assert built["rows"] == 36
    assert built["agreement"] >= 0.97
    assert built["accuracy"] is None


def test_one_that_keeps_none_asks_for_data(moods: Moods, home: Path) -> None:
    options = ("--base", moods.base, *QUICK, "--epochs", 1, "--no-mistakes")
    said(home, "fit", "--data", moods.data, "--model", "mood", *options)
    assert refused(home, "build", "mood:3") == (
        "model mood:3 keeps no texts to calibrate with (no probe_texts.txt in its folder): give --data"
    )


def test_data_of_another_model_is_refused_by_its_label(home: Path, tmp_path: Path) -> None:
    rows = [("i am glad", "calm"), ("i am sad", "gloomy")] * 10
    data = write_splits(tmp_path / "other", train=rows, val=rows, test=rows)
    assert refused(home, "build", "mood:1", "--data", data) == (
        "other has the label 'gloomy', which model mood:1 does not know (afraid, calm, cross): "
        "give the data it was fitted on"
    )


def test_a_disk_without_room_for_what_is_half_made_is_one_line(moods: Moods, home: Path) -> None:
    # The graph has more bytes.
    with files_of_at_most(65_536):
        line = refused(home, "build", "mood:1", "--data", moods.data)
    assert line == (
        f"nothing can be written to {tempfile.gettempdir()} (No space left on device); "
        "make room there, or set TMPDIR to a folder with room"
    )
    assert json.loads(said(home, "show", "mood:1", "--json"))["builds"] == []
    # Nor does it count as a version that cannot be built.
    said(home, "build", "mood:1")


def test_a_folder_for_temporary_files_that_cannot_be_used_is_one_line(
    moods: Moods, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert refused(home, "build", "mood:1", "--data", moods.data) == (
        f"nothing can be written to {tmp_path}/file (Not a directory); "
        "make room there, or set TMPDIR to a folder with room"
    )


class Shifted(TorchEngine):
    """fp32, but that every logit is larger by ten: the same best label, and every label holds."""

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        return super().logits(input_ids, attention_mask) + 10


def test_a_build_of_a_multi_label_model_is_checked_by_every_label(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(home)
    store = open_store(settings)
    single = resolve(store, parse_ref("mood:1"))
    merged = Path(settings.registry) / str(single.merged)

    def shifted(_folder: Path, max_length: int, threads: int | None) -> Shifted:
        return Shifted(merged, max_length, "cpu", threads)

    monkeypatch.setattr(building, "write_build", lambda *_: None)
    monkeypatch.setattr(building, "OpenvinoEngine", shifted)
    texts = [" ".join(WORDS[number : number + 6]) for number in range(20)]
    made = building.build_version(store, settings, single, texts, texts, who="me")
    assert made.agreement.share == 1.0
    several = replace(single, multi_label=True)
    with pytest.raises(Unbuildable, match=r"gives the label of fp32 for \d+\.\d% of 20 texts"):
        building.build_version(store, settings, several, texts, texts, who="me")
    store.close()


class Unusable(TorchEngine):
    """fp32, but that no logit is a number."""

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        return np.full_like(super().logits(input_ids, attention_mask), np.nan)


def test_a_build_that_cannot_compute_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would else be tried again at each load of the version."""
    settings = settings_of(home)
    store = open_store(settings)
    version = resolve(store, parse_ref("mood:1"))
    merged = Path(settings.registry) / str(version.merged)

    def unusable(_folder: Path, max_length: int, threads: int | None) -> Unusable:
        return Unusable(merged, max_length, "cpu", threads)

    monkeypatch.setattr(building, "write_build", lambda *_: None)
    monkeypatch.setattr(building, "OpenvinoEngine", unusable)
    texts = [" ".join(WORDS[number : number + 6]) for number in range(20)]
    with pytest.raises(Unbuildable, match=r"gives the label of fp32 for 0\.0% of 20 texts"):
        building.build_version(store, settings, version, texts, texts, who="me")
    store.close()
