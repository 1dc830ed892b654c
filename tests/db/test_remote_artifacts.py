"""What can go wrong between a registry and its object store: one line each, no secret in any."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import db.registry.remote_artifacts
import db.remote_files
from db.errors import RegistryError, RegistryUnavailable, ServiceUnavailable, one_line
from db.registry.artifact_files import sha256_of
from db.registry.artifacts import ArtifactStore
from tests.cluster import clean_environment
from tests.object_store import SECRET_KEY, ObjectStore, environment_read_anew
from tests.registry_files import artifacts_at
from tests.services import free_port

HASHES = {"weights": "0" * 64}
SOMEWHERE = "0123456789abcdef" * 2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    return folder


def refusals(artifacts: ArtifactStore, source: Path) -> set[str]:
    """Use the registry in every way, none of which must work, and return what is said."""
    said = set()
    for use in (
        lambda: artifacts.publish(source),
        lambda: artifacts.verified(SOMEWHERE, HASHES),
        lambda: artifacts.check(SOMEWHERE, HASHES),
        lambda: artifacts.older_than(0),
    ):
        with pytest.raises(RegistryUnavailable) as raised:
            use()
        # Those who ask again later know it by this.
        assert isinstance(raised.value, ServiceUnavailable)
        assert SECRET_KEY not in str(raised.value)
        assert "\n" not in str(raised.value)
        said.add(str(raised.value))
    # It has its files swept later: whoever throws something away has done what he came for.
    artifacts.discard(SOMEWHERE)
    return said


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, source: Path) -> None:
    (said,) = refusals(artifacts_at("s3://no-such-bucket/models", tmp_path), source)
    assert said == (
        "registry s3://no-such-bucket/models has no such bucket; make it, or set "
        "LABELSTREAM_REGISTRY_DIR to one that is there"
    )


def test_credentials_that_are_wrong_are_refused(
    bucket: str, object_store: ObjectStore, tmp_path: Path, source: Path
) -> None:
    object_store.ask_for_credentials(True)
    try:
        (said,) = refusals(artifacts_at(bucket, tmp_path), source)
    finally:
        object_store.ask_for_credentials(False)
    assert said.startswith(f"registry {bucket} refused the credentials; see that they are right")
    assert "AWS_SECRET_ACCESS_KEY" in said


def test_credentials_that_are_missing_are_asked_for(
    bucket: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with environment_read_anew():
        (said,) = refusals(artifacts_at(bucket, tmp_path), source)
    assert f"registry {bucket} cannot be reached or used: no credentials were found" in said


@pytest.fixture
def mute_server() -> Iterator[str]:
    """Address of a server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("server", ["nobody listens", "nobody answers"])
def test_a_server_that_cannot_be_reached_is_given_up(
    bucket: str,
    mute_server: str,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
) -> None:
    gone = server == "nobody listens"
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}" if gone else mute_server
    )
    monkeypatch.setattr(db.remote_files, "S3_ROUNDS", 1)
    if not gone:
        monkeypatch.setattr(db.remote_files, "S3_SILENCE_SECONDS", 0.2)
        monkeypatch.setattr(db.remote_files, "WRITE_SECONDS", 2.0)
    with environment_read_anew():
        (said,) = refusals(artifacts_at(bucket, tmp_path), source)
    why = "no connection could be made" if gone else "it did not answer in time"
    assert said.startswith(f"registry {bucket} cannot be reached or used: {why}; see its address")


def test_without_its_driver_the_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from training.cli import main; sys.argv = ['training', 'versions']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(
            LABELSTREAM_HOME_DIR=str(tmp_path), LABELSTREAM_REGISTRY_DIR="s3://bucket/models"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the registry cannot be opened: s3://bucket/models: s3:// needs a driver; "
        "install it: pip install 'labelstream[s3]'\n"
    )


def test_an_address_without_a_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"is s3:///, which names no bucket; set it to one"):
        artifacts_at("s3:///", tmp_path)


def test_a_password_in_the_address_is_never_shown(tmp_path: Path, source: Path) -> None:
    artifacts = artifacts_at("nosuch://user:hunter2@host/models", tmp_path)
    assert artifacts.where("a") == "nosuch://user:***@host/models/a"
    for said in refusals(artifacts, source):
        assert "hunter2" not in said
        assert "nothing is known to open nosuch:// with" in said


def test_any_driver_that_writes_will_do(tmp_path: Path, source: Path) -> None:
    address = f"memory://{tmp_path.name}/models"
    artifacts = artifacts_at(address, tmp_path)
    location, hashes = artifacts.publish(source)
    assert (artifacts.verified(location, hashes) / "weights").read_bytes() == b"weights"
    later = artifacts_at(address, tmp_path, hours=1)
    assert (artifacts.older_than(1800), later.older_than(1800)) == ([], [location])
    artifacts.discard(location)
    assert later.older_than(1800) == []


class LossyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A store that loses the last byte of what it is given."""

    protocol = "lossy"

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes()[:-1])


def test_what_did_not_arrive_as_it_was_sent_is_not_published(tmp_path: Path, source: Path) -> None:
    fsspec.register_implementation("lossy", LossyFileSystem, clobber=True)
    artifacts = artifacts_at(f"lossy://{tmp_path.name}/models", tmp_path)
    with pytest.raises(RegistryError, match="weights did not arrive unchanged"):
        artifacts.publish(source)
    assert artifacts.older_than(-60) == []


class RememberingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A store whose driver keeps what it has listed, as that for Google's does."""

    protocol = "remembering"

    def find(self, path: str, **options: Any) -> Any:
        if path not in self.dircache:
            self.dircache[path] = super().find(path, **options)
        return self.dircache[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()


def test_no_driver_answers_with_what_it_listed_before(tmp_path: Path, source: Path) -> None:
    fsspec.register_implementation("remembering", RememberingFileSystem, clobber=True)
    artifacts = artifacts_at(f"remembering://{tmp_path.name}/models", tmp_path)
    assert artifacts.older_than(-60) == []
    location, _ = artifacts.publish(source)
    assert artifacts.older_than(-60) == [location]


@pytest.mark.parametrize("tag", ["the content's MD5", "another"])
def test_a_file_is_read_back_where_the_server_does_not_tell_its_digest(
    bucket: str,
    object_store: ObjectStore,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    tag: str,
) -> None:
    if tag == "another":
        # As of files from 100 MB on, which go in parts, and of encrypted ones.
        monkeypatch.setattr(
            db.registry.remote_artifacts, "_digests", lambda file: (sha256_of(file), "")
        )
    artifacts = artifacts_at(bucket, tmp_path)
    location, hashes = artifacts.publish(source)
    key = f"{bucket.removeprefix('s3://')}/{location}/weights"
    assert object_store.requests("PUT", key) == 1
    assert object_store.requests("GET", key) == (0 if tag == "the content's MD5" else 1)
    artifacts.check(location, hashes)


def test_a_source_that_cannot_be_read_is_no_fault_of_the_store(
    bucket: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root reads every file.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RegistryError, match=r"source/weights cannot be read: Permission") as raised:
        artifacts_at(bucket, tmp_path).publish(source)
    assert not isinstance(raised.value, RegistryUnavailable)
    assert one_line(raised.value) == str(raised.value)
