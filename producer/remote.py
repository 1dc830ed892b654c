"""URLs as sources."""

import hashlib
from typing import TYPE_CHECKING, Any

from db.errors import UsageError, hide_password
from db.remote_files import is_http, is_missing, open_url, why
from producer.source_file import SourceFile

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Bytes of one read where a file's content is its fingerprint.
_HASH_BLOCK = 1 << 20


def remote_sources(url: str) -> list[SourceFile]:
    """Return the files that a URL, or a glob on an object store, names.

    Raises `UsageError` when the driver is not installed, nothing is there, or it cannot be reached.
    """
    filesystem, path = open_url(url)
    if "*" not in path or is_http(url):
        return [_source(url, filesystem, path)]
    try:
        found = sorted(filesystem.glob(path))
    except Exception as error:  # noqa: BLE001  (every driver raises its own kinds)
        raise UsageError(f"{hide_password(url)} cannot be listed: {why(error)}") from None
    if not found:
        raise UsageError(f"{hide_password(url)} matches no file; check the pattern")
    return [_source(_with_path(url, filesystem, each), filesystem, each) for each in found]


def open_remote(source: SourceFile) -> Any:
    """Open a URL for reading bytes; whoever reads it handles the driver's errors."""
    filesystem, path = open_url(source.url)
    return _open(filesystem, path, seekable=source.seekable)


def _open(filesystem: "AbstractFileSystem", path: str, *, seekable: bool) -> Any:
    if seekable:
        return filesystem.open(path, "rb")
    return filesystem.open(path, "rb", block_size=0)  # Of the HTTP driver: as one stream.


def _source(url: str, filesystem: "AbstractFileSystem", path: str) -> SourceFile:
    name = hide_password(url)
    try:
        info = filesystem.info(path)
        if info.get("type") == "directory":
            raise UsageError(f"{name} is a folder; name its files")
        size = info.get("size")
        seekable = not is_http(url) or (size is not None and _takes_ranges(filesystem, path))
        fingerprint = _tag(info, size) or _content_hash(filesystem, path, seekable=seekable)
    except FileNotFoundError as error:
        if is_missing(error):
            raise UsageError(f"{name} does not exist; check the URL") from None
        # The driver for HTTP raises this whatever happened.
        cause = error.__cause__ or error
        verb = "read" if hasattr(cause, "status") else "reached"
        raise UsageError(f"{name} cannot be {verb}: {why(cause)}") from None
    except PermissionError:
        raise UsageError(f"no permission to read {name}; check your credentials") from None
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  (every driver raises its own kinds)
        raise UsageError(f"{name} cannot be reached: {why(error)}") from None
    return SourceFile(url=url, name=name, size=size, fingerprint=fingerprint, seekable=seekable)


def _tag(info: dict[str, Any], size: int | None) -> str | None:
    """Return what the server says to tell this content from another's."""
    for kind in ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "updated"):
        if info.get(kind):
            return f"{kind.lower()}:{info[kind]} size:{size}"
    return None


def _content_hash(filesystem: "AbstractFileSystem", path: str, *, seekable: bool) -> str:
    digest = hashlib.sha256()
    with _open(filesystem, path, seekable=seekable) as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _takes_ranges(filesystem: Any, path: str) -> bool:
    """Ask an HTTP server for the first byte alone; the body of a whole file is not waited for."""
    from fsspec.asyn import sync

    async def ask() -> bool:
        session = await filesystem.set_session()
        headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        async with session.get(filesystem.encode_url(path), headers=headers) as response:
            return bool(response.status == 206)

    return bool(sync(filesystem.loop, ask))


def _with_path(url: str, filesystem: "AbstractFileSystem", path: str) -> str:
    """Return the URL of one match of a glob, with the credentials of the glob."""
    scheme, rest = url.split("://", 1)
    authority = rest.split("/", 1)[0]
    if "@" in authority:
        return f"{scheme}://{authority}/{path.lstrip('/')}"
    return str(filesystem.unstrip_protocol(path))
