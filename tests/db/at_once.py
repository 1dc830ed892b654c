"""Running things at the same moment, in real threads."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: Seconds after which threads that wait for each other count as deadlocked.
DEADLOCK_SECONDS = 60.0


def at_once(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all `functions` together; return what each returned, or the exception it raised."""
    barrier = threading.Barrier(len(functions))

    def start(function: Callable[[], Any]) -> Any:
        barrier.wait(DEADLOCK_SECONDS)
        try:
            return function()
        except Exception as error:  # noqa: BLE001  (returned, for the test to judge)
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return [
            future.result(DEADLOCK_SECONDS)
            for future in [pool.submit(start, function) for function in functions]
        ]
