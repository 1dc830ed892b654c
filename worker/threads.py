"""How many threads an engine computes with on CPUs: as many as it is told, or all that it may have."""

import math
import os
import re
from pathlib import Path

from db.defaults import MICRO_BATCH_TOKENS

#: What programs that compute are commonly told by; of a list of numbers the first counts.
_OMP = "OMP_NUM_THREADS"

#: Micro-batches that are computed side by side at most: each has memory of its own, and a row waits
#: for its micro-batch, which takes the longer the fewer threads compute it.
_CALLS_LIMIT = 4

#: Of the threads, those that have something to do at least.
_LEAST_SHARE = 0.85


def asked_threads(setting: int | None) -> int | None:
    """Return how many threads a person asked for; None if nobody did.

    `setting` is LABELSTREAM_THREADS: 0 asks for all processors. Where it is not set,
    OMP_NUM_THREADS counts.
    """
    if setting is not None:
        return setting or usable_cpus()
    said = re.match(r"\s*0*([1-9]\d{0,3})\s*(?:,|$)", os.environ.get(_OMP, ""))
    return int(said[1]) if said else None


def calls_at_once(threads: int) -> int:
    """Return how many micro-batches an engine computes side by side with so many threads.

    Each has as many of them as the others: the most for which hardly any thread is left over.
    """
    return max(
        calls
        for calls in range(1, _CALLS_LIMIT + 1)
        if calls <= threads and threads // calls * calls >= _LEAST_SHARE * threads
    )


def micro_batch_tokens(threads: int, a_thread: int) -> int:
    """Return the padded tokens of a micro-batch that `threads` compute, `a_thread` for each of them."""
    return min(threads * a_thread, MICRO_BATCH_TOKENS)


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processors this process may run on, a container's quota of time included.

    More threads than that would stand still together when the quota is used up.
    """
    cpus = _processors()
    quota = _quota(cgroup)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def fills_the_machine(threads: int) -> bool:
    """Whether so many threads take every processor that this process is let onto.

    Where they do not, others take the rest, and threads that were bound to processors would share the
    first ones with those of others who did the same.
    """
    return threads >= _processors()


def _processors() -> int:
    affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1


def _quota(cgroup: Path) -> float | None:
    """Return the processors' worth of time that the control group in `cgroup` has; None: no limit."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((cgroup / file).read_text(encoding="ascii") for file in files).split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            # Not this generation of control groups, or "max".
            continue
        return quota / period if quota > 0 and period > 0 else None
    return None
