"""Model files at a URL: in an object store, or wherever else fsspec can write."""

import errno
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from db.errors import LabelstreamError, RegistryError, RegistryUnavailable, hide_password
from db.registry.artifact_cache import ArtifactCache
from db.registry.artifact_files import LOCATION, check_files, files_below
from db.remote_files import is_missing, is_missing_bucket, open_url, put, why

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)

#: Bytes of one read where a file is hashed.
_BLOCK = 1 << 20

#: Bytes that are asked for at once where a file is read back.
_READ_BACK_BLOCK = 8 << 20

#: Where the drivers say when a file was last written; the memory's never change one.
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "created")

#: Errors of this machine's disk among those of a download.
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class RemoteArtifacts:
    """An `ArtifactStore` below a URL; what is served is a verified copy in `cache`.

    By `clock`, which should go as the server's, files are old. Raises `RegistryError` for a URL
    that names nothing.
    """

    def __init__(
        self, url: str, cache: ArtifactCache, clock: Callable[[], float] = time.time
    ) -> None:
        scheme, _, place = url.partition("://")
        if not place.strip("/"):
            raise RegistryError(
                f"LABELSTREAM_REGISTRY_DIR is {url}, which names no bucket; "
                f"set it to one, such as {scheme}://bucket/models"
            )
        self._url = url.rstrip("/")
        self._name = hide_password(self._url)
        self._cache = cache
        self._clock = clock

    def publish(self, source: Path) -> tuple[str, dict[str, str]]:
        """Write the files of `source` below a fresh prefix, and make sure of what arrived."""
        location = uuid.uuid4().hex
        hashes: dict[str, str] = {}
        filesystem, root = self._open()
        try:
            for name, file in files_below(source).items():
                hashes[name] = self._upload(filesystem, file, f"{root}/{location}/{name}")
        except Exception as error:
            if not isinstance(error, LabelstreamError):
                # Nothing is tried any more of a store that fails: what came there is swept.
                raise self._unavailable(error) from None
            self.discard(location)
            raise
        except BaseException:
            self.discard(location)
            raise
        return location, hashes

    def verified(self, location: str, hashes: Mapping[str, str]) -> Path:
        """Return the folder of a copy in the cache, fetched if it is not there or damaged."""
        self._refuse_foreign(location, hashes)
        return self._cache.get(
            location, hashes, lambda folder: self._download(location, hashes, folder)
        )

    def check(self, location: str, hashes: Mapping[str, str]) -> None:
        """Read every file anew and raise `RegistryError` unless it is there and unchanged."""
        self._refuse_foreign(location, hashes)
        with self._cache.scratch() as folder:
            self._download(location, hashes, folder)

    def discard(self, location: str) -> None:
        """Remove the files and the copy; what cannot be removed now is left to be swept."""
        self._refuse_foreign(location)
        try:
            self._cache.drop(location)
            filesystem, root = self._open()
            filesystem.rm(f"{root}/{location}", recursive=True)
        except Exception as error:  # noqa: BLE001  (every driver raises its own kinds)
            if not is_missing(error):
                log.warning("%s is left to be swept: %s", self.where(location), _told(error))

    def older_than(self, seconds: float) -> list[str]:
        """Return the prefixes whose newest file was written more than `seconds` ago, sorted."""
        newest: dict[str, float] = {}
        filesystem, root = self._open()
        try:
            for path, info in filesystem.find(root, detail=True).items():
                location = path.removeprefix(root).lstrip("/").split("/", 1)[0]
                if LOCATION.fullmatch(location):
                    written = _modified(filesystem, path, info)
                    newest[location] = max(written, newest.get(location, written))
        except Exception as error:  # noqa: BLE001  (every driver raises its own kinds)
            raise self._unavailable(error) from None
        limit = self._clock() - seconds
        return sorted(location for location, written in newest.items() if written < limit)

    def where(self, location: str) -> str:
        """Return the URL of `location`, without passwords."""
        return f"{self._name}/{location}"

    def _open(self) -> "tuple[AbstractFileSystem, str]":
        try:
            filesystem, root = open_url(self._url)
        except LabelstreamError as error:
            raise RegistryUnavailable(f"the registry cannot be opened: {error}") from None
        # Others write there too: no listing of before is true.
        filesystem.invalidate_cache()
        return filesystem, root

    def _upload(self, filesystem: "AbstractFileSystem", file: Path, target: str) -> str:
        """Write one file and return its SHA-256, having made sure that this is what arrived."""
        sha256, md5 = _digests(file)
        put(filesystem, file, target)
        # S3 tells the MD5 of what it has, unless it came in parts or is encrypted with other keys.
        if str(filesystem.info(target).get("ETag")).strip('"') == md5:
            return sha256
        with filesystem.open(target, "rb", block_size=_READ_BACK_BLOCK) as arrived:
            if hashlib.file_digest(arrived, "sha256").hexdigest() == sha256:
                return sha256
        raise RegistryError(f"{file.name} did not arrive unchanged in {self._name}; try again")

    def _download(self, location: str, hashes: Mapping[str, str], folder: Path) -> None:
        """Write the files in `hashes` to the empty folder `folder`, and check them there."""
        filesystem, root = self._open()
        for name in hashes:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                filesystem.get_file(f"{root}/{location}/{name}", str(target))
            except Exception as error:
                if isinstance(error, OSError) and error.errno in _OUR_DISK:
                    raise
                if is_missing(error) and not is_missing_bucket(error):
                    raise RegistryError(f"{self.where(location)}/{name} is missing") from None
                raise self._unavailable(error) from None
        check_files(folder, hashes, shown=self.where(location))

    def _refuse_foreign(self, location: str, hashes: Mapping[str, str] | None = None) -> None:
        """Raise `RegistryError` for a location or a file name that could lead anywhere else."""
        if not LOCATION.fullmatch(location):
            raise RegistryError(f"{location!r} is no folder of the registry {self._name}")
        for name in hashes or ():
            path = PurePosixPath(name)
            # No `..`, no `.`, no `//`, nothing absolute, and not the folder itself.
            plain = path.parts and path.as_posix() == name and not path.is_absolute()
            if not plain or ".." in path.parts or "\0" in name:
                raise RegistryError(f"{name!r} is no file of {self.where(location)}")

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        """Return what to tell people of an error that is no file's."""
        if is_missing_bucket(error):
            return RegistryUnavailable(
                f"registry {self._name} has no such bucket; make it, or set "
                "LABELSTREAM_REGISTRY_DIR to one that is there"
            )
        if isinstance(error, PermissionError):
            return RegistryUnavailable(
                f"registry {self._name} refused the credentials; see that they are right and may "
                "list, read, write and delete there (for S3: AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            )
        return RegistryUnavailable(
            f"registry {self._name} cannot be reached or used: {why(error)}; see its address, "
            "the network and the credentials (for S3: AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID)"
        )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, LabelstreamError) else why(error)


def _digests(file: Path) -> tuple[str, str]:
    """Return SHA-256 and MD5 of the same bytes, in hex."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                sha256.update(block)
                md5.update(block)
    except OSError as error:
        raise RegistryError(f"{file} cannot be read: {error.strerror}") from None
    return sha256.hexdigest(), md5.hexdigest()


def _modified(filesystem: "AbstractFileSystem", path: str, info: Mapping[str, Any]) -> float:
    """Return when a file was last written, in seconds since 1970 by the server's clock."""
    at = next((info[key] for key in _MODIFIED if info.get(key)), None) or filesystem.modified(path)
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return float(at.timestamp()) if isinstance(at, datetime) else float(at)
