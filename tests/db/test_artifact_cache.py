"""Copies of remote artifacts: fetched once, verified at each use, whole or not there at all."""

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.errors import RegistryError, RegistryUnavailable
from db.registry.artifact_cache import UNUSED_SECONDS
from db.registry.artifacts import ArtifactStore
from tests.cluster import clean_environment
from tests.db.at_once import at_once
from tests.object_store import ObjectStore
from tests.registry_files import RegistryFiles, artifacts_at

SCRIPT = Path(__file__).with_name("fetching_process.py")
CONTENT = {"config.json": b"{}", "deep/er/names.json": b"[]", "weights": b"0123456789" * 100}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def artifacts(bucket: str, home: Path) -> ArtifactStore:
    return artifacts_at(bucket, home)


@pytest.fixture
def published(tmp_path: Path, artifacts: ArtifactStore) -> tuple[str, dict[str, str]]:
    source = tmp_path / "source"
    for name, content in CONTENT.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return artifacts.publish(source)


def fetches(store: ObjectStore, bucket: str, location: str) -> int:
    """How often the weights were fetched."""
    return store.requests("GET", f"{bucket.removeprefix('s3://')}/{location}/weights")


def whole(folder: Path) -> bool:
    found = {path for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found} == CONTENT


def test_a_copy_is_fetched_once_and_serves_though_the_store_is_gone(
    artifacts: ArtifactStore,
    published: tuple[str, dict[str, str]],
    bucket: str,
    object_store: ObjectStore,
) -> None:
    folders = {artifacts.verified(*published) for _ in range(3)}
    assert len(folders) == 1
    assert whole(folders.pop())
    assert fetches(object_store, bucket, published[0]) == 1
    object_store.ask_for_credentials(True)
    try:
        assert whole(artifacts.verified(*published))
        with pytest.raises(RegistryError, match="refused the credentials"):
            artifacts.check(*published)
    finally:
        object_store.ask_for_credentials(False)


def flip(folder: Path) -> None:
    content = bytearray((folder / "weights").read_bytes())
    content[500] ^= 1
    (folder / "weights").write_bytes(content)


def cut_off(folder: Path) -> None:
    os.truncate(folder / "weights", 500)


def lose_a_file(folder: Path) -> None:
    (folder / "deep" / "er" / "names.json").unlink()


def lose_all(folder: Path) -> None:
    shutil.rmtree(folder)


def lead_out(folder: Path) -> None:
    (folder / "weights").unlink()
    (folder.parent / "weights").write_bytes(CONTENT["weights"])
    (folder / "weights").symlink_to(folder.parent / "weights")


@pytest.mark.parametrize("damage", [flip, cut_off, lose_a_file, lose_all, lead_out])
def test_a_damaged_copy_is_fetched_anew(
    artifacts: ArtifactStore,
    published: tuple[str, dict[str, str]],
    bucket: str,
    object_store: ObjectStore,
    damage: object,
) -> None:
    folder = artifacts.verified(*published)
    assert callable(damage)
    damage(folder)
    assert artifacts.verified(*published) == folder
    assert whole(folder)
    assert fetches(object_store, bucket, published[0]) == 2


def test_a_good_copy_does_not_hide_that_the_store_is_damaged(
    artifacts: ArtifactStore, published: tuple[str, dict[str, str]], bucket: str, tmp_path: Path
) -> None:
    location = published[0]
    folder = artifacts.verified(*published)
    RegistryFiles(bucket).flip_a_byte(f"{location}/weights")
    damaged = rf"^{bucket}/{location}/weights is damaged"
    with pytest.raises(RegistryError, match=damaged):
        artifacts.check(*published)
    assert artifacts.verified(*published) == folder
    # Where there is no copy there is nothing to be had, and nothing is left of the try.
    other = artifacts_at(bucket, tmp_path / "other")
    with pytest.raises(RegistryError, match=damaged):
        other.verified(*published)
    assert kept(tmp_path / "other") == set()


def kept(home: Path) -> set[str]:
    """What stands in the cache, beside its locks."""
    return {path.name for path in (home / "cache").iterdir() if not path.name.startswith(".lock-")}


def start(
    bucket: str, home: Path, published: tuple[str, dict[str, str]], *kill: str
) -> "subprocess.Popen[str]":
    """Start a process that fetches when it is told to."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, bucket, home, published[0], json.dumps(published[1]), *kill],
        env={**clean_environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_and_threads_that_want_the_same_at_once_fetch_it_once(
    artifacts: ArtifactStore,
    published: tuple[str, dict[str, str]],
    bucket: str,
    home: Path,
    object_store: ObjectStore,
) -> None:
    processes = [start(bucket, home, published) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = at_once([lambda: artifacts.verified(*published)] * 4)
    found += [Path(process.communicate(timeout=60)[0].strip()) for process in processes]
    assert found == [home / "cache" / published[0]] * 6
    assert whole(found[0])
    assert fetches(object_store, bucket, published[0]) == 1
    assert kept(home) == {published[0]}


def test_a_process_killed_in_mid_fetch_leaves_nothing_that_is_served(
    artifacts: ArtifactStore, published: tuple[str, dict[str, str]], bucket: str, home: Path
) -> None:
    killed = start(bucket, home, published, "kill")
    killed.communicate("go\n", timeout=60)
    assert killed.returncode == -9
    (left,) = kept(home)
    assert left != published[0]
    assert whole(artifacts.verified(*published))
    assert kept(home) == {published[0]}


def test_the_copies_are_their_owners_alone(
    artifacts: ArtifactStore, published: tuple[str, dict[str, str]], home: Path
) -> None:
    artifacts.verified(*published)
    for folder in (home, home / "cache"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_copy_that_nobody_used_for_a_week_makes_room_for_another(
    artifacts: ArtifactStore, published: tuple[str, dict[str, str]], tmp_path: Path, home: Path
) -> None:
    others = [artifacts.publish(tmp_path / "source") for _ in range(3)]
    for each in (published, *others[:2]):
        artifacts.verified(*each)
    for location, seconds in ((published[0], 1.0), (others[0][0], 1.0), (others[1][0], -60.0)):
        then = time.time() - UNUSED_SECONDS - seconds
        os.utime(home / "cache" / location, (then, then))
    # To be verified is to be used.
    artifacts.verified(*published)
    artifacts.verified(*others[2])
    assert kept(home) == {published[0], others[1][0], others[2][0]}
    assert whole(artifacts.verified(*others[0]))


def test_a_cache_that_cannot_be_written_is_one_line(
    published: tuple[str, dict[str, str]], bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RegistryUnavailable, match="set LABELSTREAM_HOME_DIR to a folder") as raised:
        artifacts_at(bucket, tmp_path / "file").verified(*published)
    assert "\n" not in str(raised.value)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no file longer than `size` bytes: the nearest thing to a full disk."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def test_a_disk_without_room_for_a_copy_is_not_taken_for_a_fault_of_the_store(
    artifacts: ArtifactStore, published: tuple[str, dict[str, str]], home: Path
) -> None:
    with (
        files_of_at_most(500),
        pytest.raises(
            RegistryUnavailable, match=r"models' cache .* cannot be written \(File too large"
        ),
    ):
        artifacts.verified(*published)
    assert kept(home) == set()
    assert whole(artifacts.verified(*published))
