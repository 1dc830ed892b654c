"""Processes named so surely that the wrong one is never signalled: by pid and start time."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")

#: Linux: `prctl` option by which the kernel signals a child when its parent dies.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process: pids are used again, a pid with its start time is not."""

    pid: int
    #: Opaque; equal only for the same process of the same boot.
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return who `pid` is now; None if no such process runs."""
        started = _started_on_linux(pid) if sys.platform == "linux" else _started_by_ps(pid)
        return cls(pid, started) if started else None

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def kill(self, timeout: float = 5.0) -> bool:
        """End this process at once, if it still runs; tell whether it is gone."""
        deadline = time.monotonic() + timeout
        self._signal(signal.SIGKILL)
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _signal(self, number: signal.Signals) -> None:
        try:
            if sys.platform != "linux":
                if self.is_alive():
                    os.kill(self.pid, number)
                return
            # The descriptor stays with the process that was looked at, whatever becomes of its pid.
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        except OSError:
            # Gone meanwhile, or somebody else's: either way not ours to signal.
            return


def _started_on_linux(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # proc(5): the name, in parentheses, may hold anything; state is field 3, start time field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _started_by_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() or None if state and state[0] != "Z" else None


def dying_with_this_process() -> Callable[[], None] | None:
    """Return what a child calls before it execs, so that it is killed when this process dies.

    None where the kernel offers no such thing; there the next start ends what was left.
    """
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec little else than the call itself is safe.
    library = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
