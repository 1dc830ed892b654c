"""`run.json`: what runs in a HOME_DIR now. Written only by who holds `keeper.lock`."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from db.processes import ProcessId
from worker.embedded.runtime_folder import remove_runtime_folder


@dataclass(frozen=True, slots=True)
class HomeFiles:
    """Where things lie in one HOME_DIR."""

    home: Path

    @property
    def run_lock(self) -> Path:
        """Shared by every member; who takes it alone ends the run."""
        return self.home / "run.lock"

    @property
    def start_lock(self) -> Path:
        """Held while a member prepares and starts."""
        return self.home / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the living keeper, and by who starts one."""
        return self.home / "keeper.lock"

    @property
    def record(self) -> Path:
        """What runs now."""
        return self.home / "run.json"

    @property
    def logs(self) -> Path:
        """Folder of the children's output, and their working folder."""
        return self.home / "logs"

    def log(self, name: str) -> Path:
        """Return the path of the log of the child `name`."""
        return self.logs / f"{name}.log"


@dataclass(frozen=True, slots=True)
class ChildRecord:
    """One child of the keeper: the process that runs now, and how its predecessors ended."""

    process: ProcessId | None = None
    #: Deaths since the keeper began.
    deaths: int = 0
    #: Exit status of the newest death; negative: the signal.
    status: int | None = None
    #: The last line that it wrote before.
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of the embedded mode."""

    socket: Path
    #: The store that the worker serves, without its password.
    database: str
    #: Versions of what runs: labelstream, python, redis.
    versions: dict[str, str]
    keeper: ProcessId | None = None
    redis: ChildRecord = ChildRecord()
    worker: ChildRecord = ChildRecord()

    @classmethod
    def read(cls, path: Path) -> "RunRecord | None":
        """Read the record at `path`; None if there is none, or it cannot be understood."""
        try:
            found = json.loads(path.read_bytes())
            return cls(
                socket=Path(found["socket"]),
                database=str(found["database"]),
                versions={str(key): str(value) for key, value in found["versions"].items()},
                keeper=_process(found["keeper"]),
                redis=_child(found["redis"]),
                worker=_child(found["worker"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, path: Path) -> None:
        """Put the record at `path`, readable by its owner alone, all of it or none."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({**asdict(self), "socket": str(self.socket)}, file, indent=2)
        fresh.replace(path)

    def end_processes(self) -> None:
        """End what a keeper that was killed left running."""
        for process in (self.keeper, self.worker.process, self.redis.process):
            if process is not None:
                process.kill()

    def remove(self, path: Path) -> None:
        """End what is left; remove the record at `path`, the socket and its folder."""
        self.end_processes()
        path.unlink(missing_ok=True)
        remove_runtime_folder(self.socket)


def _process(found: Any) -> ProcessId | None:
    return ProcessId(int(found["pid"]), str(found["started"])) if found else None


def _child(found: Any) -> ChildRecord:
    return ChildRecord(
        _process(found["process"]), int(found["deaths"]), found["status"], str(found["last_line"])
    )
