"""The most memory that processes were seen to have had, and their end."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

#: Seconds between two looks, and those that a process has to end by itself.
_LOOK_SECONDS = 0.2
_END_SECONDS = 20.0

#: What begins the name of a worker of Ray; its servers are called otherwise.
_OF_RAY = "ray::"


def peak_mib(process: int) -> float:
    """Return the most memory that a living process has had, in MiB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def peak_until_end(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; return the most memory that it was seen to have had, in MiB."""
    peak = 0.0
    while process.poll() is None:
        # It may end between the two questions.
        with suppress(OSError, ValueError):
            peak = max(peak, peak_mib(process.pid))
        time.sleep(_LOOK_SECONDS)
    return peak


def peak_of_ray_until_end(driver: subprocess.Popen[str]) -> float:
    """Wait for the end of a driver of Ray, and see that all processes below it end too.

    Returns its own peak and those of Ray's workers, without Ray's servers, in MiB.
    """
    peaks: dict[int, float] = {}
    below: set[psutil.Process] = set()
    root = psutil.Process(driver.pid)
    while driver.poll() is None:
        with suppress(psutil.Error):
            below |= set(root.children(recursive=True))
        for each in [root, *below]:
            with suppress(OSError, ValueError, psutil.Error):
                if each == root or each.name().startswith(_OF_RAY):
                    peaks[each.pid] = max(peaks.get(each.pid, 0.0), peak_mib(each.pid))
        time.sleep(_LOOK_SECONDS)
    end_all(below)
    return sum(peaks.values())


def end_all(processes: set[psutil.Process], seconds: float = _END_SECONDS) -> None:
    """Wait until `processes` have ended, and kill those that have not after `seconds`."""
    deadline = time.monotonic() + seconds
    while (alive := {each for each in processes if _is_alive(each)}) and (
        time.monotonic() < deadline
    ):
        time.sleep(_LOOK_SECONDS)
    for each in alive:
        with suppress(psutil.Error):
            each.kill()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
