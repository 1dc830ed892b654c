"""A registry's files seen, and tampered with, behind its back: in a folder or in an object store."""

import time
from pathlib import Path

from db.registry.artifact_cache import ArtifactCache
from db.registry.artifacts import ArtifactStore
from db.registry.local_artifacts import LocalArtifacts
from db.registry.remote_artifacts import RemoteArtifacts
from tests.object_store import filesystem


def artifacts_at(address: str, home: Path, *, hours: float = 0.0) -> ArtifactStore:
    """Return the artifacts at `address` as a machine with `home` sees them, `hours` from now."""

    def clock() -> float:
        return time.time() + hours * 3600

    if "://" in address:
        return RemoteArtifacts(address, ArtifactCache(home / "cache"), clock)
    return LocalArtifacts(Path(address), clock)


class RegistryFiles:
    """The files at `address`; a file is named by its location, a slash, and its own name."""

    def __init__(self, address: str) -> None:
        self._files = filesystem(address)
        self._root = address.split("://", 1)[-1]
        self._local = "://" not in address

    def folders(self) -> set[str]:
        """Return the names of all that stands at the top."""
        if not self._files.exists(self._root):
            return set()
        return {str(path).rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False)}

    def read(self, name: str) -> bytes:
        content: bytes = self._files.cat_file(f"{self._root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        if self._local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        self._files.rm_file(f"{self._root}/{name}")

    def flip_a_byte(self, name: str) -> None:
        content = bytearray(self.read(name))
        content[len(content) // 2] ^= 1
        self.write(name, bytes(content))
