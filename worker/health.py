"""Whether a worker lives, and whether it is ready: what a supervisor or a balancer asks it."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from db.errors import LabelstreamError, one_line

#: Seconds for which an answer holds: who asks often makes no load of it.
_FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Health:
    """An answer: whether all is well, and in a line each what is not."""

    ok: bool
    lines: tuple[str, ...]


class Checks:
    """Asks each of `checks`, which raises for what is not ready; one caller at a time."""

    def __init__(self, checks: Mapping[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._found = Health(False, ())

    def __call__(self) -> Health:
        """Return how it stands, as of a moment ago."""
        with self._lock:
            if time.monotonic() - self._asked_at >= _FRESH_SECONDS:
                self._found = self._ask()
                self._asked_at = time.monotonic()
            return self._found

    def _ask(self) -> Health:
        ok, lines = True, []
        for name, check in self._checks.items():
            try:
                check()
            except Exception as error:  # noqa: BLE001  (drivers raise many, with values in their words)
                ok = False
                told = isinstance(error, LabelstreamError)
                lines.append(f"{name}: {one_line(error) if told else type(error).__name__}")
            else:
                lines.append(f"{name}: ok")
        return Health(ok, tuple(lines))
