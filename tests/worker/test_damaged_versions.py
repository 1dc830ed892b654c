"""A promoted version whose files are damaged: refused by name if it cannot be made, served if it can."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from db.registry.aliases import promote
from db.registry.artifact_files import sha256_of
from db.registry.artifacts import artifact_store
from db.registry.events import list_events
from db.registry.names import ModelRef
from db.registry.versions import Version, list_versions, resolve
from db.settings import Settings
from db.store import Store
from tests.cluster import wait_until
from tests.db.ledger_parts import change
from tests.tiny_models import tiny_base, write_rows
from training.artifact import Provenance, write_adapter
from training.data import read_data
from training.fit import fit
from training.fit_config import FitConfig
from training.listing import version_detail
from training.registering import register
from worker.choosing import VersionChooser
from worker.engine_threads import EngineThreads
from worker.refusals import Refusals
from worker.serving import Loader, ensure_merged

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters, `two` with 2 labels and `three` with 3, on one tiny base in `base`."""
    folder = tmp_path_factory.mktemp("fitted")
    base = tiny_base(folder / "base")
    for name, labels in (("two", ("bad", "good")), ("three", ("bad", "fair", "good"))):
        data = read_data(str(write_rows(folder / f"{name} rows", labels)))
        done = fit(data, FitConfig(base=str(base), epochs=1, batch_size=16, max_length=32))
        write_adapter(done, data, Provenance("mood", name, "ours", "en"), folder / name)
    return folder


@pytest.fixture
def settings(tmp_path: Path, sqlite_store: Store) -> Settings:
    return Settings(
        _env_file=None,
        home_dir=tmp_path,
        database_url=sqlite_store.url,
        device="cpu",
        engine="torch",
    )


@pytest.fixture
def base(fitted: Path, tmp_path: Path) -> Iterator[Path]:
    """The base, which a test may take away for a while."""
    yield fitted / "base"
    if (tmp_path / "taken").exists():
        (tmp_path / "taken").rename(fitted / "base")


class Process:
    """What a worker process loads versions by."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.engine = EngineThreads(Loader(store, settings).load, limit=None, warm_up=["good"])
        self.engine.start()
        self.chooser = VersionChooser(
            store, self.engine, Refusals(store, "worker-1"), fresh_seconds=0
        )

    def serves(self) -> int:
        with self.chooser.bind("mood") as binding:
            future = self.engine.submit(binding, binding.encode(["i am happy", "sad"]))
            assert future.result(60).rejected == {}, "rows flow"
            return binding.version.version


@pytest.fixture
def start(sqlite_store: Store, settings: Settings) -> Iterator[Callable[[], Process]]:
    made: list[Process] = []

    def begin() -> Process:
        made.append(Process(sqlite_store, settings))
        made[-1].chooser.begin("mood")
        return made[-1]

    yield begin
    for process in made:
        process.engine.stop()


def flip(adapter: Path, _: Path) -> None:
    content = bytearray((adapter / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (adapter / WEIGHTS).write_bytes(content)


def truncate(adapter: Path, _: Path) -> None:
    content = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(content[: len(content) // 2])


def swap(adapter: Path, other: Path) -> None:
    """The files of two versions, in each other's place."""
    aside = adapter.with_name("aside")
    adapter.rename(aside)
    other.rename(adapter)
    aside.rename(other)


def another_head(adapter: Path, other: Path) -> None:
    shutil.copyfile(other / WEIGHTS, adapter / WEIGHTS)


DAMAGES = {
    "a byte is flipped": (flip, f"{WEIGHTS} is damaged"),
    "it is truncated": (truncate, f"{WEIGHTS} is damaged"),
    "it is another version's": (swap, "is damaged"),
    "its head has another size": (another_head, f"{WEIGHTS} is damaged"),
    "the base is gone": (None, "base"),
}


@pytest.mark.parametrize("merged", [True, False], ids=["merged", "not merged"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_version_serves_by_its_merged_files_or_is_refused_by_name(
    fitted: Path,
    base: Path,
    sqlite_store: Store,
    settings: Settings,
    start: Callable[[], Process],
    tmp_path: Path,
    damage: str,
    merged: bool,
) -> None:
    store, artifacts = sqlite_store, artifact_store(settings)
    for name in ("two", "two", "three"):
        register(store, artifacts, fitted / name, "mood")
    first, second, third = list_versions(store, "mood")
    ensure_merged(store, settings, first)
    process = start()
    assert process.serves() == 1
    if merged:
        ensure_merged(store, settings, second)

    do, reason = DAMAGES[damage]
    registry = Path(settings.registry)
    if do is None:
        base.rename(tmp_path / "taken")
    else:
        do(registry / second.adapter, registry / third.adapter)
    (named,) = version_detail(store, resolve(store, ref(2)), artifacts)["damage"]
    assert reason in named
    promote(store, "mood", 2, who="me", why=None)

    if merged:
        wait_until(lambda: process.serves() == 2, 60, "it serves by its merged files")
        assert start().serves() == 2
        assert refusals(store) == []
        return
    wait_until(lambda: process.serves() == 1 and refusals(store), 120, "it is refused")
    (told,) = refusals(store)
    assert "mood:2" in told
    assert reason in told
    # A worker that starts now finds the version that loads.
    assert start().serves() == 1
    assert process.serves() == 1


def test_a_head_that_was_registered_with_the_wrong_labels_is_refused_with_both_sizes(
    fitted: Path, sqlite_store: Store, settings: Settings, start: Callable[[], Process]
) -> None:
    store, artifacts = sqlite_store, artifact_store(settings)
    for _ in range(2):
        register(store, artifacts, fitted / "two", "mood")
    ensure_merged(store, settings, resolve(store, ref(1)))
    process = start()
    second = resolve(store, ref(2))
    path = Path(settings.registry) / second.adapter / WEIGHTS
    tensors = load_file(fitted / "three" / WEIGHTS)
    save_file(tensors, path, metadata={"format": "pt"})
    hashes = {**second.adapter_sha256, WEIGHTS: sha256_of(path)}
    set_hashes(store, second, hashes)
    promote(store, "mood", 2, who="me", why=None)
    wait_until(lambda: process.serves() == 1 and refusals(store), 120, "it is refused")
    assert "a head of 3 classes, but 2 label names" in refusals(store)[0]


def ref(number: int) -> ModelRef:
    return ModelRef("mood", None, number)


def refusals(store: Store) -> list[str]:
    return [str(each.why) for each in list_events(store, "mood") if each.event == "refused"]


def set_hashes(store: Store, version: Version, hashes: dict[str, str]) -> None:
    import orjson

    change(
        store,
        "UPDATE model_versions SET adapter_sha256 = :hashes WHERE version = :number",
        hashes=orjson.dumps(hashes).decode(),
        number=version.version,
    )
