"""Artifacts: published whole or not at all, and served only as they were published."""

import hashlib
from pathlib import Path

import pytest

from db.errors import RegistryError
from db.registry.artifacts import ArtifactStore

CONTENT = {"model.safetensors": b"weights", "labels/names.json": b'["anger", "joy"]'}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def artifacts(registry: Path) -> ArtifactStore:
    return ArtifactStore(str(registry))


@pytest.fixture
def published(tmp_path: Path, artifacts: ArtifactStore) -> tuple[str, dict[str, str]]:
    source = tmp_path / "source"
    for name, content in CONTENT.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return artifacts.publish(source)


def test_what_is_published_is_whole_and_hashed(
    artifacts: ArtifactStore, registry: Path, published: tuple[str, dict[str, str]]
) -> None:
    location, hashes = published
    assert hashes == {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    folder = artifacts.verified(location, hashes)
    assert folder == registry / location
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT


def test_every_publication_has_a_folder_of_its_own(
    tmp_path: Path, artifacts: ArtifactStore, registry: Path, published: tuple[str, dict[str, str]]
) -> None:
    other, _ = artifacts.publish(tmp_path / "source")
    assert other != published[0]
    artifacts.discard(other)
    assert not (registry / other).exists()
    artifacts.verified(*published)


def test_a_missing_file_is_named(
    artifacts: ArtifactStore, registry: Path, published: tuple[str, dict[str, str]]
) -> None:
    (registry / published[0] / "labels" / "names.json").unlink()
    with pytest.raises(RegistryError, match=r"labels/names\.json is missing"):
        artifacts.verified(*published)


def test_a_damaged_file_is_named(
    artifacts: ArtifactStore, registry: Path, published: tuple[str, dict[str, str]]
) -> None:
    (registry / published[0] / "model.safetensors").write_bytes(b"weightS")
    with pytest.raises(RegistryError, match=r"model\.safetensors is damaged"):
        artifacts.verified(*published)


@pytest.mark.parametrize("location", ["", ".", "..", "../outside", "/etc", "a/b", "link"])
def test_nothing_outside_the_registry_is_served_or_removed(
    tmp_path: Path,
    artifacts: ArtifactStore,
    registry: Path,
    published: tuple[str, dict[str, str]],
    location: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (registry / "link").symlink_to(outside)
    with pytest.raises(RegistryError, match="is no folder of the registry"):
        artifacts.verified(location, {})
    with pytest.raises(RegistryError, match="is no folder of the registry"):
        artifacts.discard(location)
    assert (outside / "file").exists()
    artifacts.verified(*published)


def test_a_file_name_that_leads_out_is_refused(
    artifacts: ArtifactStore, registry: Path, published: tuple[str, dict[str, str]]
) -> None:
    (registry / "secret").write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    with pytest.raises(RegistryError, match="is no file of"):
        artifacts.verified(published[0], {"../secret": digest})


def test_a_registry_that_cannot_be_written_is_one_line_and_leaves_nothing(
    tmp_path: Path, published: tuple[str, dict[str, str]]
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(RegistryError, match="set LABELSTREAM_REGISTRY_DIR") as raised:
        ArtifactStore(str(blocked)).publish(tmp_path / "source")
    assert "\n" not in str(raised.value)
