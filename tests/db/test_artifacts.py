"""Artifacts: published whole or not at all, and served only as they were published."""

import hashlib
from pathlib import Path

import pytest

from db.errors import RegistryError
from db.registry.artifacts import ArtifactStore, artifact_store
from db.registry.local_artifacts import LocalArtifacts
from db.settings import Settings
from tests.registry_files import RegistryFiles, artifacts_at

CONTENT = {
    "empty": b"",
    "labels/names.json": b'["anger", "joy"]',
    "model.safetensors": b"weights",
}

Published = tuple[str, dict[str, str]]


@pytest.fixture
def artifacts(registry_address: str, tmp_path: Path) -> ArtifactStore:
    return artifacts_at(registry_address, tmp_path / "home")


@pytest.fixture
def files(registry_address: str) -> RegistryFiles:
    return RegistryFiles(registry_address)


@pytest.fixture
def published(tmp_path: Path, artifacts: ArtifactStore) -> Published:
    source = tmp_path / "source"
    for name, content in CONTENT.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return artifacts.publish(source)


def test_what_is_published_is_whole_and_hashed(
    artifacts: ArtifactStore, files: RegistryFiles, published: Published
) -> None:
    location, hashes = published
    assert hashes == {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    assert {name: files.read(f"{location}/{name}") for name in CONTENT} == CONTENT
    artifacts.check(location, hashes)
    folder = artifacts.verified(location, hashes)
    found = {path for path in folder.rglob("*") if path.is_file()}
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in found} == CONTENT


def test_every_publication_has_a_folder_of_its_own(
    tmp_path: Path, artifacts: ArtifactStore, files: RegistryFiles, published: Published
) -> None:
    other, hashes = artifacts.publish(tmp_path / "source")
    assert files.folders() == {published[0], other}
    folder = artifacts.verified(other, hashes)
    artifacts.discard(other)
    assert files.folders() == {published[0]}
    assert not folder.exists()
    artifacts.verified(*published)
    artifacts.discard(other)


def test_a_missing_file_is_named(
    artifacts: ArtifactStore, files: RegistryFiles, published: Published
) -> None:
    files.remove(f"{published[0]}/labels/names.json")
    for look in (artifacts.verified, artifacts.check):
        with pytest.raises(RegistryError, match=r"labels/names\.json is missing"):
            look(*published)


@pytest.mark.parametrize("content", [b"weightS", b"weight", b"weights and more", b""])
def test_a_damaged_file_is_named(
    artifacts: ArtifactStore, files: RegistryFiles, published: Published, content: bytes
) -> None:
    files.write(f"{published[0]}/model.safetensors", content)
    for look in (artifacts.verified, artifacts.check):
        with pytest.raises(RegistryError, match=r"model\.safetensors is damaged") as raised:
            look(*published)
        assert str(raised.value).startswith(artifacts.where(published[0]))


@pytest.mark.parametrize("location", ["", ".", "..", "../outside", "/etc", "a/b", "link"])
def test_nothing_outside_the_registry_is_served_or_removed(
    tmp_path: Path,
    artifacts: ArtifactStore,
    registry_address: str,
    published: Published,
    location: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    if Path(registry_address).is_dir():
        (Path(registry_address) / "link").symlink_to(outside)
    for refused in (
        lambda: artifacts.verified(location, {}),
        lambda: artifacts.check(location, {}),
        lambda: artifacts.discard(location),
    ):
        with pytest.raises(RegistryError, match="is no folder of the registry"):
            refused()
    assert (outside / "file").exists()
    artifacts.verified(*published)


@pytest.mark.parametrize("name", ["../secret", "../../secret", "/secret", "a/../../secret"])
def test_a_file_name_that_leads_out_is_refused(
    tmp_path: Path,
    artifacts: ArtifactStore,
    files: RegistryFiles,
    published: Published,
    name: str,
) -> None:
    for place in ("secret", "../secret", f"{published[0]}/{name}"):
        files.write(place, b"secret")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for look in (artifacts.verified, artifacts.check):
        with pytest.raises(RegistryError, match="is no file of"):
            look(published[0], {name: hashlib.sha256(b"secret").hexdigest()})
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_folders_are_old_a_while_after_their_publication(
    registry_address: str, tmp_path: Path, files: RegistryFiles, published: Published
) -> None:
    files.write("notes/of the operator", b"not ours")
    files.write("README.md", b"nor is this")
    for hours, old in ((0.9, []), (1.1, [published[0]])):
        later = artifacts_at(registry_address, tmp_path / "home", hours=hours)
        assert later.older_than(3600) == old


def test_what_others_publish_after_a_look_is_seen_by_the_next(
    artifacts: ArtifactStore, files: RegistryFiles, published: Published
) -> None:
    assert artifacts.older_than(-60) == [published[0]]
    other = "0123456789abcdef" * 2
    files.write(f"{other}/weights", b"weights")
    assert artifacts.older_than(-60) == sorted([published[0], other])
    files.remove(f"{published[0]}/model.safetensors")
    with pytest.raises(RegistryError, match=r"model\.safetensors is missing"):
        artifacts.verified(*published)


def test_a_registry_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    (tmp_path / "source").mkdir()
    with pytest.raises(RegistryError, match="set LABELSTREAM_REGISTRY_DIR") as raised:
        LocalArtifacts(blocked).publish(tmp_path / "source")
    assert "\n" not in str(raised.value)


def test_the_settings_may_name_a_folder_by_a_url(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, registry_dir=f"file://{tmp_path}/with%20blank")
    assert artifact_store(settings).where("x") == f"{tmp_path}/with blank/x"
