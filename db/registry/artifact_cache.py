"""Copies of remote artifacts on this machine: fetched once, verified at each use, kept a while."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from db.errors import RegistryError, RegistryUnavailable
from db.registry.artifact_files import check_files

#: Seconds after which a copy that nobody has used is removed, when another one is fetched.
UNUSED_SECONDS = 7 * 24 * 3600.0

#: How names begin that are no artifact's: what is being fetched, what is being removed, and locks.
_FETCHING = ".fetching-"
_LEAVING = ".leaving-"
_LOCK = ".lock-"


class ArtifactCache:
    """A folder, readable by its owner alone, with one folder an artifact in it.

    Threads and processes may share it: an artifact appears whole or not at all, and those that
    want the same one at once wait for the one that fetches it. Locations and file names are taken
    as they come: whoever calls has checked that they lead nowhere else.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, location: str, hashes: Mapping[str, str], fetch: Callable[[Path], None]) -> Path:
        """Return the folder of `location`, every file in `hashes` verified.

        Where it is missing or damaged, `fetch` is called to write the files to an empty folder,
        and to make sure that they are the right ones; it raises what it likes. Raises
        `RegistryUnavailable` if the folder of the cache cannot be written: the fault is this
        machine's, and tells nothing of the files.
        """
        folder = self._root / location
        if _is_whole(folder, hashes):
            return folder
        with self._writing(), self._locked(location):
            # Somebody else may have fetched it while this one waited for the lock.
            if not _is_whole(folder, hashes):
                self._forget_unused()
                self._fetch(location, fetch)
        return folder

    def drop(self, location: str) -> None:
        """Remove the copy of `location`, if there is one."""
        if (self._root / location).exists():
            with self._writing(), self._locked(location):
                self._remove(self._root / location)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder that is gone at the end of the block."""
        with self._writing():
            folder = self._root / f"{_LEAVING}{uuid.uuid4().hex}"
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make the folder, and tell an error of this machine's disk in one line."""
        try:
            self._root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._root.mkdir(mode=0o700, exist_ok=True)
            yield
        except OSError as error:
            raise RegistryUnavailable(
                f"the models' cache {self._root} cannot be written ({error.strerror}); "
                "set LABELSTREAM_HOME_DIR to a folder with room"
            ) from None

    @contextmanager
    def _locked(self, location: str) -> Iterator[None]:
        # A few files for all locations: one that is removed while others wait for it locks nothing.
        with (self._root / f"{_LOCK}{location[0]}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _fetch(self, location: str, fetch: Callable[[Path], None]) -> None:
        """Replace the copy of `location`, under its lock."""
        fresh = self._root / f"{_FETCHING}{location}"
        # What is there was left by a process that was killed: nobody else has the lock.
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            fetch(fresh)
            self._remove(self._root / location)
            fresh.rename(self._root / location)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Take `folder` away whole, so that no one finds half of it."""
        leaving = self._root / f"{_LEAVING}{uuid.uuid4().hex}"
        try:
            folder.rename(leaving)
        except FileNotFoundError:
            return
        shutil.rmtree(leaving, ignore_errors=True)

    def _forget_unused(self) -> None:
        """Remove what was not used for long, and what killed processes left behind."""
        limit = time.time() - UNUSED_SECONDS
        for entry in self._root.iterdir():
            if entry.name.startswith(_LOCK):
                continue
            try:
                unused = entry.stat().st_mtime < limit
            except FileNotFoundError:
                continue
            if unused:
                self._remove(entry)


def _is_whole(folder: Path, hashes: Mapping[str, str]) -> bool:
    """Whether the copy in `folder` is good; if so, it counts as used now."""
    try:
        os.utime(folder)
        check_files(folder, hashes, shown=str(folder))
    except (OSError, RegistryError):
        return False
    return True
