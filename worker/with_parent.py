"""A process that leaves when its parent is gone: what derives files for a worker that has ended."""

import os
import signal
import sys
import threading
from typing import Annotated

import typer

from worker.derived import WITH_PARENT

#: The option by which a command is told that its standard input is open while its parent lives.
WithParent = Annotated[
    bool, typer.Option(WITH_PARENT, help="Leave as at TERM when standard input ends.")
]


def leave_with_parent(told: bool) -> None:
    """If so `told`, leave in order, as at TERM, soon after the end of the process that started it.

    No signal of the kernel's tells of that everywhere; the end of a pipe does.
    """
    if told:
        threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    # Nothing is ever written there.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
