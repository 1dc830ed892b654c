"""Children that die with their parent, where the kernel sees to it."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

#: Linux: `prctl` option by which the kernel signals a child when its parent dies.
_PR_SET_PDEATHSIG = 1


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
