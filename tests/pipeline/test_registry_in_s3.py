"""A registry in an object store, the whole way: made, merged, served, shown, exported, damaged."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.errors import RegistryError, RegistryUnavailable
from db.registry.artifacts import artifact_store
from db.registry.events import REFUSED, list_events
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import Store, open_store
from tests.cluster import BIN, Cluster, clean_environment
from tests.object_store import ObjectStore, filesystem, fresh_bucket
from tests.registry_files import RegistryFiles
from training.exporting import export_served
from training.listing import version_detail
from training.registry import Registry
from worker import Classifier
from worker.choosing import VersionChooser
from worker.engine_threads import EngineThreads
from worker.refusals import Refusals
from worker.serving import Loader

TEXTS = {
    "i feel so happy and cheerful today": "joy",
    "i am so angry and furious at all of them": "anger",
    "i was terrified and afraid of the dark": "fear",
}


@dataclass
class Shared:
    """What machines have in common: the database and the object store."""

    address: str
    database: Path

    @property
    def files(self) -> RegistryFiles:
        return RegistryFiles(self.address)

    def settings(self, home: Path) -> Settings:
        """Return the settings of a machine that keeps its own things in `home`."""
        return Settings(
            _env_file=None,
            home_dir=home,
            database_url=f"sqlite:///{self.database}",
            registry_dir=self.address,
            device="cpu",
        )

    def training(self, home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `training` on a machine that keeps its own things in `home`."""
        return subprocess.run(
            [BIN / "training", *map(str, arguments)],
            env=clean_environment(
                LABELSTREAM_HOME_DIR=str(home),
                LABELSTREAM_DATABASE_URL=f"sqlite:///{self.database}",
                LABELSTREAM_REGISTRY_DIR=self.address,
            ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def shared(
    object_store: ObjectStore, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """Register the starter in an object store and merge it there, as the first machine does."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copyfile(migrated_sqlite, folder / "store.db")
    with fresh_bucket(object_store) as bucket:
        shared = Shared(f"{bucket}/models", folder / "store.db")
        assert labels_of(shared.settings(folder / "first")) == TEXTS
        yield shared


def labels_of(settings: Settings) -> dict[str, str]:
    with Classifier.load("emotion@production", settings=settings) as classifier:
        said = classifier(list(TEXTS))
    return {text: one["label"] for text, one in zip(TEXTS, said, strict=True)}


@pytest.fixture
def store(shared: Shared, tmp_path: Path) -> Iterator[Store]:
    store = open_store(shared.settings(tmp_path))
    yield store
    store.close()


@pytest.fixture
def starter(store: Store) -> Version:
    return resolve(store, parse_ref("emotion:1"))


def test_another_machine_serves_what_the_first_one_merged(
    shared: Shared, starter: Version, tmp_path: Path
) -> None:
    both = {starter.adapter, str(starter.merged)}
    assert shared.files.folders() == both
    assert labels_of(shared.settings(tmp_path)) == TEXTS
    assert shared.files.folders() == both
    # Of the adapter, serving has no need; the process that merged kept its copy beside the other.
    assert copies_in(tmp_path) == {starter.merged}
    assert copies_in(shared.database.parent / "first") == both


def copies_in(home: Path) -> set[str]:
    return {path.name for path in (home / "cache").iterdir() if not path.name.startswith(".")}


def test_a_worker_labels_a_job_whose_file_and_model_are_in_an_object_store(
    shared: Shared, redis_url: str, tmp_path: Path
) -> None:
    rows = "id,text\n" + "".join(f"t{n},{text}\n" for n, text in enumerate(TEXTS, 1))
    source = f"{shared.address}-rows/rows.csv"
    filesystem(source).pipe_file(source, rows.encode())
    database = tmp_path / "store.db"
    shutil.copyfile(shared.database, database)
    cluster = Cluster(tmp_path, redis_url, f"sqlite:///{database}", shared.address)
    try:
        worker = cluster.start_worker(LABELSTREAM_LOG_LEVEL="DEBUG")
        result = cluster.ingest(source)
        assert (result["labeled"], result["model_versions"]) == (3, {"1": 3})
        assert dict(map(tuple, cluster.rows("SELECT text, label FROM labeled_texts"))) == TEXTS
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    finally:
        cluster.stop()
    for unwanted in ("Traceback", "Unclosed", "Signature="):
        assert unwanted not in cluster.logs()


def test_show_and_promote_look_at_the_store_and_export_takes_from_it(
    shared: Shared, store: Store, starter: Version, tmp_path: Path
) -> None:
    settings = shared.settings(tmp_path)
    artifacts = artifact_store(settings)
    export_served(Registry(settings, store, artifacts), starter, tmp_path / "plain")
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= {
        path.name for path in (tmp_path / "plain").iterdir()
    }
    detail = version_detail(store, starter, artifacts)
    assert detail["damage"] == []
    assert detail["merged"] == f"{shared.address}/{starter.merged}"

    # This machine has good copies of all by now: they are not what is asked after.
    weights = f"{starter.adapter}/adapter_model.safetensors"
    shared.files.flip_a_byte(weights)
    try:
        detail = version_detail(store, starter, artifacts)
        promoted = shared.training(tmp_path, "promote", "emotion:1")
    finally:
        shared.files.flip_a_byte(weights)
    damaged = f"{shared.address}/{weights} is damaged: its SHA-256 is not the registered one"
    assert detail["damage"] == [f"adapter: {damaged}"]
    assert (promoted.returncode, promoted.stderr) == (2, f"error: {damaged}\n")


def test_a_damaged_version_is_refused_by_name(
    shared: Shared, starter: Version, tmp_path: Path
) -> None:
    damaged = (
        f"{starter.merged}/config.json",
        f"{starter.adapter}/adapter_model.safetensors",
    )
    for name in damaged:
        shared.files.flip_a_byte(name)
    try:
        with pytest.raises(RegistryError) as raised:
            labels_of(shared.settings(tmp_path))
    finally:
        for name in damaged:
            shared.files.flip_a_byte(name)
    assert str(raised.value) == (
        f"model emotion:1 could not be merged: {shared.address}/{damaged[1]} is damaged: "
        "its SHA-256 is not the registered one"
    )
    assert labels_of(shared.settings(tmp_path)) == TEXTS


def test_while_the_store_is_out_of_reach_no_version_is_to_blame(
    shared: Shared, object_store: ObjectStore, store: Store, tmp_path: Path
) -> None:
    loader = Loader(store, shared.settings(tmp_path / "home"))
    engine = EngineThreads(loader.load, limit=None)
    engine.start()
    chooser = VersionChooser(store, engine, Refusals(store, "worker-1"), fresh_seconds=0)
    object_store.ask_for_credentials(True)
    try:
        for reference in ("emotion:1", "emotion@production"):
            with pytest.raises(RegistryUnavailable, match="refused the credentials"):
                chooser.bind(reference)
    finally:
        object_store.ask_for_credentials(False)
    assert [each for each in list_events(store, "emotion") if each.event == REFUSED] == []
    with chooser.bind("emotion:1") as binding:
        future = engine.submit(binding, binding.encode(list(TEXTS)))
        assert future.result(60).rejected == {}
    engine.stop()
