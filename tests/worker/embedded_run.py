"""What the tests of the embedded mode look at from outside: processes, files, members."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.cluster import clean_environment

#: Stands in for the worker where a test is not about the worker.
SLEEPER = ("sleep", "600")

MEMBER = Path(__file__).with_name("embedded_member.py")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return value


class Run:
    """The run of one HOME_DIR."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._seen: dict[int, psutil.Process] = {}

    def record(self) -> dict[str, Any] | None:
        """Read run.json, and remember every process that it ever names."""
        try:
            found: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        except (OSError, ValueError):
            return None
        for pid in (self._pid(found, name) for name in ("keeper", "redis", "worker")):
            if pid is not None and pid not in self._seen and psutil.pid_exists(pid):
                self._seen[pid] = psutil.Process(pid)
        return found

    def pids(self) -> dict[str, int]:
        """Return the three pids once all three are recorded and live."""

        def all_live() -> dict[str, int] | None:
            record = self.record()
            pids = {name: self._pid(record, name) for name in ("keeper", "redis", "worker")}
            live = {name: pid for name, pid in pids.items() if pid is not None and is_live(pid)}
            return live if len(live) == len(pids) else None

        pids: dict[str, int] = wait_for(all_live, "keeper, Redis and worker live")
        return pids

    def socket(self) -> Path:
        record = self.record()
        assert record is not None
        return Path(record["socket"])

    def kill(self, name: str) -> int:
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def survivors(self) -> list[str]:
        """Return the processes of this run, ever seen, that still live."""
        self.record()
        return [f"{pid}: {_command(p)}" for pid, p in self._seen.items() if _runs(p)]

    def wait_until_gone(self, socket: Path, seconds: float = 20.0) -> None:
        wait_for(lambda: not self.survivors(), "no process of the run is left", seconds)
        wait_for(lambda: not (self.home / "run.json").exists(), "the record is gone", seconds)
        assert not socket.parent.exists()

    @staticmethod
    def _pid(record: dict[str, Any] | None, name: str) -> int | None:
        if record is None:
            return None
        found = record[name] if name == "keeper" else record[name]["process"]
        return found["pid"] if found else None


def is_live(pid: int) -> bool:
    try:
        return _runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        # It ended since it was seen to run; the next look finds it gone.
        return "ended meanwhile"


class Member:
    """A member in a process of its own."""

    def __init__(self, home: Path, *worker_command: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(MEMBER), str(home), *(worker_command or SLEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**clean_environment(), **environment},
            text=True,
        )
        self._said: dict[str, str] | None = None

    def said(self) -> dict[str, str]:
        """Return what it told when it had joined, or could not."""
        if self._said is None:
            assert self._process.stdout is not None
            self._said = json.loads(self._process.stdout.readline())
        return self._said

    def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
