"""Processes named so surely that the wrong one is never signalled, nor a living one taken for dead."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")

#: What `own_name` says where a process can be told from all others: host, pid, a hash of where
#: that pid counts, and when the process began, in ticks since the boot.
_SURE_NAME = re.compile(r"(?P<host>.+):(?P<pid>\d+)/(?P<where>[0-9a-f]{12})\.(?P<ticks>\d+)")

#: States of proc(5) in which a process runs no more: zombie and dead. One that is stopped lives.
_ENDED = "ZX"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process: pids are used again, a pid with its start time is not."""

    pid: int
    #: Opaque; equal only for the same process of the same boot and the same pid namespace.
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


def own_name() -> str:
    """Return what names this process in the ledger, for people and for `is_gone`.

    `host:pid`, and behind it, where the kernel tells them, what makes it the name of no other
    process: `tower:4711/5e8f1c2a9d03.88123`.
    """
    name = f"{socket.gethostname()}:{os.getpid()}"
    where, stat = _where(), _state_and_start(os.getpid())
    return f"{name}/{_short(where)}.{stat[1]}" if where and stat else name


def is_gone(name: str) -> bool:
    """Whether it is certain that the process which `own_name` named so runs no more.

    Nothing is concluded, so False, of a process of another machine, boot or pid namespace, nor of
    one that this user may not look at. A process that is stopped (SIGSTOP) is not gone.
    """
    told = _SURE_NAME.fullmatch(name)
    where = _where()
    if told is None or where is None:
        return False
    if (told["host"], told["where"]) != (socket.gethostname(), _short(where)):
        return False
    pid = int(told["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        # Somebody else's, and alive; perhaps it has got the pid after ours. The next line tells.
        pass
    found = _state_and_start(pid)
    return found is not None and (found[0] in _ENDED or found[1] != told["ticks"])


def _short(where: str) -> str:
    return hashlib.blake2b(where.encode(), digest_size=6).hexdigest()


def _where() -> str | None:
    """Return what tells the pids of these surroundings from all others; None if that is unknown.

    The boot, since pids begin anew with it, and the namespaces: containers have pids of their own,
    and may have a clock of their own. A namespace's number is used again only when no process of
    it is left, so that its being the same never makes a living process look dead.
    """
    if sys.platform != "linux" or (boot := _boot()) is None:
        return None
    try:
        # A /proc that was brought in from another namespace speaks of other pids.
        if os.readlink(_PROC / "self") != str(os.getpid()):
            return None
        pids = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None
    try:
        clock = os.readlink(_PROC / "self/ns/time")
    except OSError:
        # Linux before 5.6 has but one.
        clock = ""
    return f"{boot}/{pids}{clock}"


def _boot() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _state_and_start(pid: int) -> tuple[str, str] | None:
    """Return the state of `pid` and its start in ticks since the boot; None if it cannot be read."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # proc(5): the name, in parentheses, may hold anything; state is field 3, start time field 22.
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[19]


def _started_on_linux(pid: int) -> str | None:
    found, where = _state_and_start(pid), _where() or _boot()
    return f"{where}/{found[1]}" if found and found[0] not in _ENDED and where else None


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
