"""Model files in a folder of this machine, or one that machines share."""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from db.errors import RegistryError
from db.registry.artifact_files import LOCATION, check_files, files_below, sha256_of


class LocalArtifacts:
    """An `ArtifactStore` in the folder `root`, an absolute path; by `clock` files are old."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock

    def publish(self, source: Path) -> tuple[str, dict[str, str]]:
        """Copy the files of `source` into a fresh folder; they are on the disk when it returns."""
        location = uuid.uuid4().hex
        folder = self._root / location
        hashes: dict[str, str] = {}
        try:
            folder.mkdir(parents=True)
            for name, file in files_below(source).items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                _flush(target)
                hashes[name] = sha256_of(target)
            for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                _flush(inner)
            _flush(self._root)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise RegistryError(
                f"registry {self._root} cannot be written ({error.strerror}); "
                "set LABELSTREAM_REGISTRY_DIR to a folder with room"
            ) from None
        return location, hashes

    def verified(self, location: str, hashes: Mapping[str, str]) -> Path:
        """Return the folder itself, checked."""
        folder = self._folder(location)
        check_files(folder, hashes, shown=str(folder))
        return folder

    def check(self, location: str, hashes: Mapping[str, str]) -> None:
        """Raise `RegistryError` unless every file is there and unchanged."""
        self.verified(location, hashes)

    def discard(self, location: str) -> None:
        """Remove a folder that no version refers to, as far as that can be done."""
        shutil.rmtree(self._folder(location), ignore_errors=True)

    def older_than(self, seconds: float) -> list[str]:
        """Return the folders that were published more than `seconds` ago, sorted."""
        limit = self._clock() - seconds
        found = []
        for entry in self._root.iterdir() if self._root.is_dir() else ():
            ours = LOCATION.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
            # Nothing is written into an artifact after its own publication.
            if ours and entry.stat().st_mtime < limit:
                found.append(entry.name)
        return sorted(found)

    def where(self, location: str) -> str:
        """Return the path of `location`."""
        return f"{self._root}/{location}"

    def _folder(self, location: str) -> Path:
        folder = self._root / location
        if not location or folder.resolve().parent != self._root.resolve():
            raise RegistryError(f"{location!r} is no folder of the registry {self._root}")
        return folder


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
