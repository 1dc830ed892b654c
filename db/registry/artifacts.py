"""Where the models' files are: published once under a fresh name, hashed, and never moved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from db.errors import RegistryError, RegistryUnavailable
from db.registry.artifact_cache import ArtifactCache
from db.registry.local_artifacts import LocalArtifacts
from db.registry.remote_artifacts import RemoteArtifacts
from db.settings import Settings

#: Schemes of URLs that name a folder of this machine.
_LOCAL_SCHEMES = ("file", "local")


class ArtifactStore(Protocol):
    """The files of all versions, each artifact a folder with a name that is never used again.

    Every method may be called by many threads and processes at once. `RegistryUnavailable`, a
    `RegistryError`, is raised where a remote store cannot be reached or used, or this machine cannot
    keep a copy of what it holds.
    """

    def publish(self, source: Path) -> tuple[str, dict[str, str]]:
        """Copy the files of folder `source` into a fresh folder of the registry.

        Returns the new folder's name and the SHA-256 of every file by its name. The files are
        stored for good when it returns; nothing refers to them until a row of `model_versions`
        does. Raises `RegistryError` if the registry cannot be written.
        """

    def verified(self, location: str, hashes: Mapping[str, str]) -> Path:
        """Return a folder of this machine with the files of `location`, all unchanged.

        Raises `RegistryError` naming the first file that is missing or differs, and for a
        location or a file name that would lead out of the registry.
        """

    def check(self, location: str, hashes: Mapping[str, str]) -> None:
        """Raise `RegistryError` as `verified` does, but for the registry's own files.

        A good copy that this machine keeps does not count: others have none.
        """

    def discard(self, location: str) -> None:
        """Remove a folder that no version refers to, or leave it to be swept.

        Raises `RegistryError` for a location that is no folder of the registry.
        """

    def older_than(self, seconds: float) -> list[str]:
        """Return the artifacts' folders into which nothing was written for `seconds`, sorted.

        What does not look like one of ours is left out, whatever it is.
        """

    def where(self, location: str) -> str:
        """Return the address of `location`, for people to read: without passwords."""


def is_whole(artifacts: ArtifactStore, location: str, hashes: Mapping[str, str]) -> bool:
    """Whether every file of `location` is there and unchanged.

    Raises `RegistryUnavailable` if nothing is known of them, because the store cannot be reached.
    """
    try:
        artifacts.verified(location, hashes)
    except RegistryUnavailable:
        raise
    except RegistryError:
        return False
    return True


def artifact_store(settings: Settings) -> ArtifactStore:
    """Return the registry's files at the place that the settings name: a folder, or a URL."""
    address = settings.registry
    if "://" not in address:
        return LocalArtifacts(Path(address))
    if address.split("://", 1)[0].lower() in _LOCAL_SCHEMES:
        return LocalArtifacts(Path(unquote(urlsplit(address).path)))
    return RemoteArtifacts(address, ArtifactCache(settings.home / "cache"))
