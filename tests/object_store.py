"""A real S3 server on loopback, for tests that read or write `s3://` through fsspec."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import free_port, wait_for

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: What must never stand in a message: this server asks for no credentials, but others do.
SECRET_KEY = "hunter2secretkey"

#: Variables of a user's own account, which these tests have no business with.
_OTHER_ACCOUNT = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3")


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server: where it is, and what it was asked."""

    endpoint: str
    log: Path

    def requests(self, method: str, key: str) -> int:
        """Return how often `key`, which begins with its bucket, was asked for."""
        # It writes some answers in colour.
        plain = re.sub(r"\x1b\[\d+m", "", self.log.read_text())
        return plain.count(f'"{method} /{key} HTTP')

    def ask_for_credentials(self, asked: bool) -> None:
        """Refuse everybody from now on, for nobody has an account there; or nobody again."""
        free_requests = b"0" if asked else b"inf"
        urllib.request.urlopen(  # noqa: S310
            urllib.request.Request(  # noqa: S310
                f"{self.endpoint}/moto-api/reset-auth",
                data=free_requests,
                headers={"Content-Type": "text/plain"},
                method="POST",
            )
        ).close()


@contextmanager
def start_object_store(folder: Path) -> Iterator[ObjectStore]:
    """Run an S3 server that keeps its objects in memory; it ends with the block."""
    endpoint = f"http://127.0.0.1:{(port := free_port())}"
    log = folder / "s3.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: _answers(endpoint), process)
        yield ObjectStore(endpoint, log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=5):  # noqa: S310
            return True
    except urllib.error.URLError:
        return False


def point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fsspec find an S3 server and an account, in this process and in those it starts."""
    for name in _OTHER_ACCOUNT:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "labelstream")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def environment_read_anew() -> Iterator[None]:
    """Let `s3://` in this process be connected by what the environment says within the block.

    A connection is kept otherwise, for making one takes longer than most tests.
    """
    import fsspec

    driver = fsspec.get_filesystem_class("s3")
    driver.clear_instance_cache()
    try:
        yield
    finally:
        driver.clear_instance_cache()


@contextmanager
def fresh_bucket(store: ObjectStore) -> Iterator[str]:
    """Make a bucket and give its URL; within the block the environment says where its server is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        point_to(store.endpoint, monkeypatch)
        bucket = f"bucket-{uuid.uuid4().hex}"
        filesystem("s3://").mkdir(bucket)
        yield f"s3://{bucket}"


def filesystem(url: str) -> "AbstractFileSystem":
    """Open what `url`, or a path, is on, as a test sees it: without any memory of its files."""
    import fsspec

    protocol = url.split("://", 1)[0] if "://" in url else "file"
    return fsspec.filesystem(protocol, use_listings_cache=False)
