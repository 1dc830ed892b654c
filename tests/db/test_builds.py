"""Builds of a version: one for each engine, its version and kind of processor, and each recorded."""

from dataclasses import replace
from functools import partial
from operator import eq
from pathlib import Path

import pytest

from db.errors import RegistryError
from db.registry.builds import (
    Build,
    BuildKey,
    cannot_be_built,
    find_build,
    list_builds,
    record_build,
    record_not_built,
)
from db.registry.events import list_events
from db.registry.local_artifacts import LocalArtifacts
from db.registry.pruning import prune
from db.registry.versions import Version, add_version
from db.store import Store
from tests.db.models import new_version

KEY = BuildKey("openvino", "2026.1", "x86_64 avx2")
BUILD = Build("a-folder", {"model.xml": "0" * 64}, 0.995, None)


def registered(store: Store) -> Version:
    return add_version(store, new_version(), who="me")


def test_a_build_is_found_by_all_that_it_depends_on_and_by_nothing_less(store: Store) -> None:
    version = registered(store)
    assert record_build(store, version, KEY, BUILD, who="me") == ()
    assert find_build(store, version, KEY) == BUILD
    for other in (
        replace(KEY, engine="another"),
        replace(KEY, engine_version="2026.2"),
        replace(KEY, cpu_features="x86_64 avx2 avx512_vnni"),
    ):
        assert find_build(store, version, other) is None
    assert find_build(store, registered(store), KEY) is None


def test_a_build_that_is_made_anew_takes_the_place_of_the_one_before(store: Store) -> None:
    version = registered(store)
    record_build(store, version, KEY, BUILD, who="me")
    anew = replace(BUILD, location="another", agreement=1.0, accuracy=0.9)
    assert record_build(store, version, KEY, anew, who="you") == ("a-folder",)
    assert list_builds(store, version) == [(KEY, anew)]
    # One that was made at the same time by somebody else, who was not asked to.
    late = replace(BUILD, location="too-late")
    for seen in (None, BUILD):
        replaces = partial(eq, seen)
        unused = record_build(store, version, KEY, late, who="them", replaces=replaces)
        assert unused == ("too-late",)
        assert list_builds(store, version) == [(KEY, anew)]
    built = [event for event in list_events(store, "emotion") if event.event == "built"]
    assert [(event.who, event.why) for event in built] == [
        ("me", "openvino 2026.1: 99.50% of labels as fp32"),
        ("you", "openvino 2026.1: 100.00% of labels as fp32"),
    ]


def test_a_build_of_a_newer_engine_takes_those_of_older_ones_away_on_such_processors(
    store: Store,
) -> None:
    version, other = registered(store), registered(store)
    keys = {
        "of 9": replace(KEY, engine_version="2026.9.0"),
        "of 10": replace(KEY, engine_version="2026.10.0"),
        "of 11, a nightly": replace(KEY, engine_version="2026.11.0.dev20261101"),
        "of 11": replace(KEY, engine_version="2026.11.0"),
        "for others": replace(KEY, engine_version="2026.9.0", cpu_features="x86_64 avx512f"),
        "of another engine": replace(KEY, engine="another", engine_version="1.0"),
    }
    for name in ("of 9", "for others", "of another engine", "of 11", "of 11, a nightly"):
        folders = record_build(store, version, keys[name], replace(BUILD, location=name), who="me")
        assert folders == (("of 9",) if name == "of 11" else ())
    record_build(
        store, other, keys["of 9"], replace(BUILD, location="of another version"), who="me"
    )
    # A machine that is behind makes its own again, and takes nothing away from those ahead of it.
    behind = replace(BUILD, location="of 10")
    assert record_build(store, version, keys["of 10"], behind, who="me") == ()
    left = {build.location: key for key, build in list_builds(store, version)}
    assert left == {name: key for name, key in keys.items() if name != "of 9"}
    again = replace(BUILD, location="of 11 again")
    gone = record_build(store, version, keys["of 11"], again, who="me")
    assert sorted(gone) == ["of 10", "of 11"]
    assert [build.location for _, build in list_builds(store, other)] == ["of another version"]


def test_pruning_a_version_removes_the_files_of_its_builds(store: Store, tmp_path: Path) -> None:
    artifacts = LocalArtifacts(tmp_path / "registry")
    folders = []
    for name in ("adapter", "build", "build elsewhere", "adapter of the next"):
        source = tmp_path / name
        source.mkdir()
        (source / "file").write_text(name)
        folders.append(artifacts.publish(source))
    (adapter, hashes), build, elsewhere, (after, after_hashes) = folders
    old = add_version(store, new_version(adapter=adapter, adapter_sha256=hashes), who="me")
    others = BuildKey("openvino", "2025.4", "aarch64 asimddp")
    for key, (location, build_hashes) in ((KEY, build), (others, elsewhere)):
        made = replace(BUILD, location=location, sha256=build_hashes)
        record_build(store, old, key, made, who="me")
    add_version(store, new_version(adapter=after, adapter_sha256=after_hashes), who="me")
    prune(store, artifacts, "emotion", keep=1, who="me")
    assert list_builds(store, old) == []
    with pytest.raises(RegistryError, match="model emotion:1 is pruned by now"):
        record_build(store, old, KEY, BUILD, who="me")
    assert list_builds(store, old) == []
    assert {path.name for path in (tmp_path / "registry").iterdir()} == {after}


def test_what_cannot_be_built_is_known_of_its_key_alone(store: Store) -> None:
    version = registered(store)
    assert not cannot_be_built(store, version, KEY)
    record_not_built(store, version, KEY, "too few labels as fp32", who="me")
    assert cannot_be_built(store, version, KEY)
    assert not cannot_be_built(store, version, replace(KEY, engine_version="2026.2"))
    assert not cannot_be_built(store, version, replace(KEY, cpu_features="x86_64 avx2 avx_vnni"))
    assert not cannot_be_built(store, registered(store), KEY)
