"""From a version to an engine: verified, loaded once, said in the log."""

import logging
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import DBAPIError

from db.errors import RegistryError, UsageError
from db.registry.aliases import list_aliases
from db.registry.local_artifacts import LocalArtifacts
from db.registry.versions import Version, list_versions
from db.settings import Settings
from db.store import Store
from tests.worker.versions import version
from worker.computing import padded
from worker.engine_threads import EngineThreads
from worker.serving import Loader
from worker.starter import ensure_starter


def test_four_threads_load_a_version_once(
    starter_settings: Settings, starter_store: Store, starter: Version
) -> None:
    loader = Loader(starter_store, starter_settings)
    engine = EngineThreads(loader.load)
    engine.start()
    together = threading.Barrier(4)
    labels: list[int] = []

    def work(number: int) -> None:
        together.wait(30)
        for _ in range(3):
            with engine.bind(starter) as binding:
                rows = binding.encode([f"i feel like number {number}"] * 5)
                labels.append(engine.submit(binding, rows).result(timeout=60).logits.shape[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    engine.stop()
    assert labels == [5] * 12
    assert loader.loads == 1


def test_the_log_says_what_was_loaded_where_and_how_long_it_took(
    starter_settings: Settings,
    starter_store: Store,
    starter: Version,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    Loader(starter_store, starter_settings).load(starter)
    said = [record.getMessage() for record in caplog.records if record.name == "worker.serving"]
    assert len(said) == 1
    assert re.fullmatch(r"model emotion:1 loaded on cpu with engine torch in \d+\.\d s", said[0])


@pytest.mark.parametrize("name", ["constant", "text-hash", "fixed-time"])
def test_an_engine_that_needs_no_model_reads_no_file(
    name: str, sqlite_store: Store, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, home_dir=tmp_path / "nothing", engine=name)
    engine = Loader(sqlite_store, settings).load(version())
    assert engine.name == name
    assert not (tmp_path / "nothing").exists()


def test_the_constant_engine_can_stand_behind_the_tokenizer_of_a_version(
    starter_settings: Settings, starter_store: Store, starter: Version
) -> None:
    settings = starter_settings.model_copy(update={"engine": "constant-tokenised"})
    engine = Loader(starter_store, settings).load(starter)
    assert (engine.name, engine.device) == ("constant-tokenised", "cpu")
    rows = engine.encoder.encode(["i feel happy", "rain " * 200])
    # The vocabulary of BERT: [CLS] i feel happy [SEP].
    assert rows.row(0).tolist() == [101, 1045, 2514, 3407, 102]
    assert rows.lengths.tolist() == [5, 128]
    assert rows.truncated.tolist() == [False, True]
    logits = engine.logits(*padded(rows.part(0, 2), engine.padding_id))
    assert logits.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 2


def test_the_setting_gives_an_engine_its_pace(sqlite_store: Store) -> None:
    settings = Settings(_env_file=None, engine="text-hash", engine_pace=0.05)
    engine = Loader(sqlite_store, settings).load(version())
    started = time.monotonic()
    ids = np.full((2, 3), 97, dtype=np.int64)
    engine.logits(ids, np.ones_like(ids))
    assert time.monotonic() - started >= 0.1


def test_a_version_without_files_is_refused_in_one_line(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of the user's own with our package's name: the merging child must not run it.
    (tmp_path / "worker.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, home_dir=tmp_path, database_url=sqlite_store.url)
    with pytest.raises(RegistryError, match=r"letters:1 could not be merged: there is no model"):
        Loader(sqlite_store, settings).load(version())


def test_a_device_that_is_not_there_is_no_reason_to_merge_anew(
    starter_settings: Settings, starter_store: Store, starter: Version
) -> None:
    settings = starter_settings.model_copy(update={"device": "cuda:99"})
    before = sorted(Path(starter_settings.registry).iterdir())
    with pytest.raises(UsageError, match="device cuda:99 is not there"):
        Loader(starter_store, settings).load(starter)
    assert sorted(Path(starter_settings.registry).iterdir()) == before


def test_of_many_that_start_at_once_one_registers_the_starter(store: Store, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    together = threading.Barrier(4)
    errors: list[BaseException] = []

    def begin() -> None:
        mine = Store(store.url)
        try:
            together.wait(30)
            ensure_starter(mine, LocalArtifacts(registry))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    (starter,) = list_versions(store)
    assert (str(starter), len(starter.labels), starter.max_length) == ("emotion:1", 6, 128)
    assert list_aliases(store) == {("emotion", "production"): 1}
    assert [path.name for path in registry.iterdir()] == [starter.adapter]
    assert "adapter_model.safetensors" in starter.adapter_sha256


def test_the_terms_of_the_starter_are_said_when_it_is_registered(
    sqlite_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_starter(sqlite_store, LocalArtifacts(tmp_path / "registry"))
    (said,) = caplog.messages
    assert said.startswith("model emotion:1 is registered; its terms: educational and research use")
    ensure_starter(sqlite_store, LocalArtifacts(tmp_path / "registry"))
    assert len(caplog.messages) == 1, "said once"


def test_a_starter_that_cannot_be_registered_leaves_no_folder(
    sqlite_store: Store, tmp_path: Path
) -> None:
    with sqlite_store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON model_versions "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    with pytest.raises(DBAPIError):
        ensure_starter(sqlite_store, LocalArtifacts(tmp_path / "registry"))
    assert list((tmp_path / "registry").iterdir()) == []
