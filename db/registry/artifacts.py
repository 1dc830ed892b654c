"""Folders of model files: published once under a fresh name, hashed, and never moved."""

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from db.errors import RegistryError
from db.settings import Settings

#: The names that `publish` gives.
_LOCATION = re.compile(r"[0-9a-f]{32}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ArtifactStore:
    """The files of all versions, each artifact a folder with a name that is never used again.

    `address` is the absolute path of a folder.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._root = Path(address)

    def publish(self, source: Path) -> tuple[str, dict[str, str]]:
        """Copy the files of folder `source` into a fresh folder of the registry.

        Returns the new folder's name and the SHA-256 of every file by its name. The files are on
        the disk when it returns; nothing refers to them until a row of `model_versions` does.
        Raises `RegistryError` if the registry cannot be written.
        """
        location = uuid.uuid4().hex
        folder = self._root / location
        hashes: dict[str, str] = {}
        try:
            folder.mkdir(parents=True)
            for file in sorted(path for path in source.rglob("*") if path.is_file()):
                name = file.relative_to(source).as_posix()
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                _flush(target)
                hashes[name] = sha256_of(target)
            _flush(folder)
            _flush(self._root)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise RegistryError(
                f"registry {self.address} cannot be written ({error.strerror}); "
                "set LABELSTREAM_REGISTRY_DIR to a folder with room"
            ) from None
        return location, hashes

    def verified(self, location: str, hashes: Mapping[str, str]) -> Path:
        """Return the local folder of `location` if every file in `hashes` is there and unchanged.

        Raises `RegistryError` naming the first file that is missing or differs, and for a
        location that would lead out of the registry.
        """
        folder = self._folder(location)
        inside = folder.resolve()
        for name, expected in hashes.items():
            file = folder / name
            if not file.resolve().is_relative_to(inside):
                raise RegistryError(f"{name!r} is no file of {folder}")
            if not file.is_file():
                raise RegistryError(f"{file} is missing")
            if sha256_of(file) != expected:
                raise RegistryError(f"{file} is damaged: its SHA-256 is not the registered one")
        return folder

    def discard(self, location: str) -> None:
        """Remove a folder that no version refers to.

        Raises `RegistryError` for a location that is no folder of the registry.
        """
        shutil.rmtree(self._folder(location), ignore_errors=True)

    def older_than(self, seconds: float) -> list[str]:
        """Return the artifacts' folders that were begun more than `seconds` ago.

        What does not look like one of ours is left out, whatever it is.
        """
        limit = time.time() - seconds
        found = []
        for entry in self._root.iterdir() if self._root.is_dir() else ():
            ours = _LOCATION.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
            # Nothing is written into an artifact after its own publication.
            if ours and entry.stat().st_mtime < limit:
                found.append(entry.name)
        return sorted(found)

    def where(self, location: str) -> str:
        """Return the address of `location`, for people to read."""
        return f"{self.address}/{location}"

    def _folder(self, location: str) -> Path:
        folder = self._root / location
        if not location or folder.resolve().parent != self._root.resolve():
            raise RegistryError(f"{location!r} is no folder of the registry {self.address}")
        return folder


def artifact_store(settings: Settings) -> ArtifactStore:
    """Return the registry's files at the place that the settings name."""
    return ArtifactStore(settings.registry)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
