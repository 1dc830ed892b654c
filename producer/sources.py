"""From what a person names as SOURCE to the files that are read: paths, globs and URLs."""

import glob
import hashlib
import os
import stat
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from db.errors import UsageError, hide_password
from producer.redis_address import is_stream
from producer.source_file import SourceFile, is_url


def resolve_sources(specs: Sequence[str]) -> list[SourceFile]:
    """Return the files that `specs` name, in the order given, those of a glob sorted.

    Reads every local file once, for its SHA-256. Raises `UsageError` for a file that is missing,
    not readable, no file, or named twice, a glob that matches nothing, a URL that cannot be
    reached, and for a stream beside files.
    """
    sources: dict[str, SourceFile] = {}
    for spec in specs:
        for source in _resolve(spec):
            if source.name in sources:
                raise UsageError(f"{source.name} is named twice; name each file once")
            sources[source.name] = source
    if not sources:
        raise UsageError("no source named; give a file, a glob or a URL")
    return list(sources.values())


def _resolve(spec: str) -> list[SourceFile]:
    scheme = spec.split("://", 1)[0].lower() if is_url(spec) else ""
    if spec == "-":
        raise UsageError("standard input (-) is read alone; name no other source beside it")
    if is_stream(spec):
        raise UsageError(f"{hide_password(spec)} is read alone; name no other source beside it")
    if scheme == "redis+socket":
        raise UsageError(
            f"{hide_password(spec)}: write a stream behind a socket like "
            "unix:///path/to/socket?stream=NAME&group=NAME"
        )
    if scheme in ("file", "local"):
        spec, scheme = unquote(urlsplit(spec).path), ""
    if not scheme:
        return [_local(path) for path in _local_paths(spec)]
    from producer.remote import remote_sources

    return remote_sources(spec)


def _local_paths(spec: str) -> list[str]:
    if os.path.lexists(spec) or not glob.has_magic(spec):
        return [spec]
    found = sorted(path for path in glob.glob(spec, recursive=True) if not os.path.isdir(path))
    if not found:
        raise UsageError(f"{storable(spec)} matches no file; check the pattern")
    return found


def _local(path: str) -> SourceFile:
    name = storable(path)
    try:
        # Asked of the path as it was given: a shell's <(command) leads to no name that there is.
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UsageError(
                f"{name} is no regular file; pipe what it gives into: producer ingest -"
            )
        real = os.path.realpath(path)
        name = storable(real)
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{name} is a folder; name its files, such as {name}/*.csv")
        with open(real, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{name} does not exist; check the path") from None
    except PermissionError:
        raise UsageError(f"no permission to read {name}; see: ls -l") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise UsageError(f"{name} cannot be read: {reason}") from None
    return SourceFile(
        url=real,
        name=name,
        size=status.st_size,
        fingerprint=digest,
        seekable=True,
    )


def storable(path: str) -> str:
    """Return a path as text that can be stored and shown, whatever bytes its name has."""
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)
