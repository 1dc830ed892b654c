"""A build in a registry elsewhere, on a machine that cannot keep a copy: the build is not to blame."""

from dataclasses import replace
from pathlib import Path

import pytest

from db.errors import RegistryUnavailable
from db.registry.artifacts import artifact_store, is_whole
from db.registry.builds import Build, list_builds, record_build
from db.registry.events import list_events
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store
from tests.db.models import new_version
from worker.builds import build_key, usable_build
from worker.probes import PROBE_FILE
from worker.serving import Loader


def test_a_cache_that_cannot_be_written_is_no_damage_of_a_build(
    sqlite_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(
        _env_file=None,
        home_dir=tmp_path / "home",
        registry_dir=f"memory://{tmp_path}",
        database_url=sqlite_store.url,
        device="cpu",
        engine="auto",
    )
    # With texts to build from, which would be done for a build that is damaged.
    hashes = {**new_version().adapter_sha256, PROBE_FILE: "2" * 64}
    version = add_version(sqlite_store, new_version(adapter_sha256=hashes), who="me")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.xml").write_text("<net>")
    artifacts = artifact_store(settings)
    build = Build(*artifacts.publish(tmp_path / "source"), 1.0, None)
    record_build(sqlite_store, version, build_key(), build, who="me")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").touch()
    with pytest.raises(RegistryUnavailable, match=r"models' cache .*/home/cache cannot be written"):
        Loader(sqlite_store, settings).load(version)
    # Nor does the process that builds take it for damaged.
    with pytest.raises(RegistryUnavailable):
        is_whole(artifacts, build.location, build.sha256)
    assert caplog.messages == []
    assert list_builds(sqlite_store, version) == [(build_key(), build)]
    assert [event.event for event in list_events(sqlite_store, "emotion")] == [
        "registered",
        "built",
    ]
    (tmp_path / "home" / "cache").unlink()
    assert usable_build(sqlite_store, settings, version) == (
        tmp_path / "home" / "cache" / build.location
    )
    missing = replace(build, sha256={**build.sha256, "model.bin": "3" * 64})
    assert not is_whole(artifacts, build.location, missing.sha256)
