"""`worker.build` beside others that build: what somebody else has made good meanwhile stays."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.registry.artifacts import artifact_store
from db.registry.builds import Build, find_build, record_build
from db.registry.events import list_events
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings, get_settings
from db.store import Store, open_store
from tests.training.conftest import Moods
from tests.training.moods import one_torch_thread, said, settings_of
from worker import build as build_command
from worker.builds import build_key
from worker.embedded.locks import FileLock
from worker.int8 import building
from worker.int8.building import write_build


class Registry:
    """A home with `mood:1`, whose build is damaged; this process builds in it."""

    def __init__(self, settings: Settings, spare: Path) -> None:
        self.settings = settings
        self.store: Store = open_store(settings)
        self.version: Version = resolve(self.store, parse_ref("mood:1"))
        there = self.build
        shutil.copytree(Path(settings.registry) / there.location, spare)
        self._spare = spare
        self.damaged = there.location
        (Path(settings.registry) / there.location / "model.bin").unlink()

    @property
    def build(self) -> Build:
        found = find_build(self.store, self.version, build_key())
        assert found is not None
        return found

    def replace_elsewhere(self) -> str:
        """Record a good build as another machine does; returns its location."""
        artifacts = artifact_store(self.settings)
        location, hashes = artifacts.publish(self._spare)
        made = replace(self.build, location=location, sha256=hashes)
        for unused in record_build(self.store, self.version, build_key(), made, who="another"):
            artifacts.discard(unused)
        return location

    def builders(self) -> list[str]:
        """Return who has built, from the second build on."""
        built = [event for event in list_events(self.store, "mood") if event.event == "built"]
        return [event.who for event in built[1:]]

    def folders(self) -> set[str]:
        return {path.name for path in Path(self.settings.registry).iterdir()}


@pytest.fixture
def registry(moods: Moods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    home = moods.copied(tmp_path / "home")
    said(home, "build", "mood:1", "--data", moods.data)
    monkeypatch.setenv("LABELSTREAM_HOME_DIR", str(home))
    monkeypatch.setenv("LABELSTREAM_DEVICE", "cpu")
    # What the child process runs, but for its lower priority, which this process would keep.
    monkeypatch.setattr(os, "nice", lambda _: 0)
    get_settings.cache_clear()
    opened = Registry(settings_of(home), tmp_path / "spare")
    with one_torch_thread():
        yield opened
    opened.store.close()


def test_a_damaged_build_is_replaced(registry: Registry) -> None:
    folders = registry.folders()
    build_command.build("mood:1")
    assert registry.builders() == ["labelstream"]
    assert registry.folders() == folders - {registry.damaged} | {registry.build.location}


def test_one_that_was_replaced_while_the_lock_was_waited_for_is_not_made_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(FileLock):
        def acquire(self, *, shared: bool = False, timeout: float = 0.0) -> bool:
            registry.replace_elsewhere()
            return super().acquire(shared=shared, timeout=timeout)

    written: list[object] = []
    monkeypatch.setattr(build_command, "FileLock", Waiting)
    monkeypatch.setattr(building, "write_build", lambda *_: written.append(1))
    build_command.build("mood:1")
    assert registry.builders() == ["another"]
    assert written == []


def test_one_that_was_replaced_while_this_machine_built_stays(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs: list[str] = []

    def write_while_another_does(*arguments: object) -> None:
        write_build(*arguments)  # type: ignore[arg-type]
        theirs.append(registry.replace_elsewhere())

    monkeypatch.setattr(building, "write_build", write_while_another_does)
    folders = registry.folders()
    build_command.build("mood:1")
    assert registry.builders() == ["another"]
    assert [registry.build.location] == theirs
    assert registry.folders() == folders - {registry.damaged} | {*theirs}
