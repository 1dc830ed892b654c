"""The files of one artifact: what they are called, their hashes, and whether they are unchanged."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from db.errors import RegistryError

#: The names that a publication gives to its folder: a UUID in hex.
LOCATION = re.compile(r"[0-9a-f]{32}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> dict[str, Path]:
    """Return every file below `folder` by its name there, with slashes, in the names' order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}


def check_files(folder: Path, hashes: Mapping[str, str], shown: str) -> None:
    """Raise `RegistryError` unless every file in `hashes` is in `folder` and unchanged.

    It names the first file that is missing, differs, cannot be read, or lies outside of `folder`,
    as a file of `shown`.
    """
    inside = folder.resolve()
    for name, expected in hashes.items():
        file = folder / name
        try:
            if not file.resolve().is_relative_to(inside):
                raise RegistryError(f"{name!r} is no file of {shown}")
            if not file.is_file():
                raise RegistryError(f"{shown}/{name} is missing")
            found = sha256_of(file)
        except OSError as error:
            raise RegistryError(f"{shown}/{name} cannot be read: {error.strerror}") from None
        if found != expected:
            raise RegistryError(f"{shown}/{name} is damaged: its SHA-256 is not the registered one")
