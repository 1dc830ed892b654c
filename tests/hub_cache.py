"""A cache as the hub's client keeps one, made by hand: what was fetched before, and no network."""

import shutil
from pathlib import Path

from worker.bases import file_sha256


class HubCache:
    """The cache in `home`, which HF_HOME names: repositories with commits, and where main points."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def add(self, repository: str, commit: str, files: Path) -> Path:
        """Put the files of a folder there as `commit`, which main now is; return their folder."""
        folder = self._folder(repository)
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (folder / "blobs").mkdir(exist_ok=True)
        for file in sorted(files.iterdir()):
            blob = folder / "blobs" / file_sha256(file)
            shutil.copyfile(file, blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
        self.move_main(repository, commit)
        return snapshot

    def move_main(self, repository: str, commit: str) -> None:
        """Let the branch main point to `commit`."""
        refs = self._folder(repository) / "refs"
        refs.mkdir(exist_ok=True)
        (refs / "main").write_text(commit)

    def environment(self) -> dict[str, str]:
        """Return what lets a process use this cache, and nothing but it."""
        return {"HF_HOME": str(self.home), "HF_HUB_OFFLINE": "1"}

    def _folder(self, repository: str) -> Path:
        return self.home / "hub" / f"models--{repository.replace('/', '--')}"
