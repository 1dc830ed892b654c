"""Pruned versions lose their files and nothing else; orphans go after a day and not before."""

import os
import time
from pathlib import Path

import pytest

from db.errors import RegistryError
from db.registry.aliases import promote, promotions, rollback
from db.registry.artifacts import ArtifactStore
from db.registry.events import list_events
from db.registry.local_artifacts import LocalArtifacts
from db.registry.names import ModelRef, parse_ref
from db.registry.orphans import sweep_orphans
from db.registry.pruning import prune
from db.registry.versions import (
    Version,
    add_version,
    find_version,
    list_versions,
    resolve,
    set_merged,
)
from db.store import Store
from tests.db.ledger_parts import begin, change
from tests.db.models import new_version
from tests.registry_files import RegistryFiles, artifacts_at


@pytest.fixture
def artifacts(registry_address: str, tmp_path: Path) -> ArtifactStore:
    return artifacts_at(registry_address, tmp_path / "home")


@pytest.fixture
def registry(registry_address: str) -> RegistryFiles:
    return RegistryFiles(registry_address)


def files(artifacts: ArtifactStore, tmp_path: Path, content: str) -> tuple[str, dict[str, str]]:
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "weights").write_text(content)
    return artifacts.publish(source)


def versions(store: Store, artifacts: ArtifactStore, tmp_path: Path, count: int) -> list[Version]:
    """Register versions with real files, adapter and merged, the first one in production."""
    made = []
    for number in range(1, count + 1):
        location, hashes = files(artifacts, tmp_path, f"adapter {number}")
        new = new_version(adapter=location, adapter_sha256=hashes)
        alias = "production" if number == 1 else None
        version = add_version(store, new, who="me", alias=alias)
        set_merged(store, version, *files(artifacts, tmp_path, f"merged {number}"))
        made.append(resolve(store, ModelRef("emotion", None, number)))
    return made


def test_the_newest_and_the_needed_stay_and_the_others_lose_their_files(
    store: Store, artifacts: ArtifactStore, registry: RegistryFiles, tmp_path: Path
) -> None:
    made = versions(store, artifacts, tmp_path, 6)
    begin(store, model="emotion", model_ref="emotion:3")
    done = prune(store, artifacts, "emotion", keep=2, who="me")
    assert done.gone == (2, 4)
    assert done.kept == {1: "production points to it", 3: "job 1 asks for it"}
    states = {each.version: each.state for each in list_versions(store)}
    assert states == {1: "ready", 2: "pruned", 3: "ready", 4: "pruned", 5: "ready", 6: "ready"}
    left = [each for each in made if states[each.version] == "ready"]
    assert registry.folders() == {
        str(name) for each in left for name in (each.adapter, each.merged)
    }
    for each in left:
        artifacts.verified(each.adapter, each.adapter_sha256)
    assert [event.event for event in list_events(store, "emotion", 4)] == ["registered", "pruned"]
    assert find_version(store, ModelRef("emotion", None, 4)).labels == made[3].labels
    with pytest.raises(RegistryError, match="emotion:4 is pruned"):
        resolve(store, ModelRef("emotion", None, 4))


def test_a_finished_job_keeps_no_version_from_being_pruned(
    store: Store, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    versions(store, artifacts, tmp_path, 3)
    begin(store, model="emotion", model_ref="emotion:2")
    change(store, "UPDATE jobs SET state = 'done'")
    assert prune(store, artifacts, "emotion", keep=1, who="me").gone == (2,)


def test_a_pruned_version_is_neither_promoted_nor_rolled_back_to(
    store: Store, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    versions(store, artifacts, tmp_path, 3)
    promote(store, "emotion", 2, who="me", why=None)
    promote(store, "emotion", 3, who="me", why=None)
    assert promotions(store, "emotion") == [3, 2, 1]
    assert prune(store, artifacts, "emotion", keep=1, who="me").gone == (1, 2)
    with pytest.raises(RegistryError, match="emotion:2 is pruned"):
        promote(store, "emotion", 2, who="me", why=None)
    with pytest.raises(RegistryError, match="no usable version was promoted before"):
        rollback(store, "emotion", who="me", why=None)
    assert promotions(store, "emotion") == [3]
    assert resolve(store, parse_ref("emotion")).version == 3


def test_there_must_be_such_a_model(store: Store, artifacts: ArtifactStore) -> None:
    with pytest.raises(RegistryError, match="there is no model topics"):
        prune(store, artifacts, "topics", keep=1, who="me")


def test_a_prune_killed_before_the_files_went_leaves_orphans_that_are_swept(
    store: Store,
    artifacts: ArtifactStore,
    registry: RegistryFiles,
    registry_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = versions(store, artifacts, tmp_path, 2)

    class Killed(BaseException):
        pass

    def kill(_self: ArtifactStore, _location: str) -> None:
        raise Killed

    promote(store, "emotion", 2, who="me", why=None)
    with monkeypatch.context() as patched:
        patched.setattr(type(artifacts), "discard", kill)
        with pytest.raises(Killed):
            prune(store, artifacts, "emotion", keep=1, who="me")
    assert len(registry.folders()) == 4
    for hours, swept in ((23.9, []), (24.1, sorted([made[0].adapter, str(made[0].merged)]))):
        then = artifacts_at(registry_address, tmp_path / "home", hours=hours)
        assert sweep_orphans(store, then) == swept
        assert len(registry.folders()) == 4 - len(swept)
    assert registry.folders() == {made[1].adapter, str(made[1].merged)}


def test_an_orphan_is_swept_after_a_day_and_nothing_else_is(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    artifacts = LocalArtifacts(root)
    (version,) = versions(store, artifacts, tmp_path, 1)
    young, _ = files(artifacts, tmp_path, "a publication under way")
    old, _ = files(artifacts, tmp_path, "left by a killed process")
    foreign = root / "notes"
    foreign.mkdir()
    link = root / ("f" * 32)
    link.symlink_to(foreign)
    for name in (version.adapter, str(version.merged), old, "notes"):
        make_old(root / name, hours=24.1)
    make_old(root / young, hours=23.9)
    assert sweep_orphans(store, artifacts) == [old]
    assert {path.name for path in root.iterdir()} == {
        version.adapter, str(version.merged), young, "notes", link.name,
    }  # fmt: skip
    assert sweep_orphans(store, artifacts) == []


def make_old(folder: Path, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(folder, (then, then))


def test_a_registry_that_is_not_there_yet_has_no_orphans(
    store: Store, artifacts: ArtifactStore
) -> None:
    assert sweep_orphans(store, artifacts) == []
