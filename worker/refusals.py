"""Versions that could not be loaded: told once, left alone for a while, tried again."""

import logging
import threading
import time
from dataclasses import dataclass

from db.defaults import REFUSED_PAUSE_LIMIT_SECONDS, REFUSED_PAUSE_SECONDS
from db.errors import LabelstreamError, one_line
from db.registry.events import REFUSED, record_event
from db.registry.versions import Version
from db.store import Store
from worker.loaded_versions import VersionKey, key_of
from worker.metrics import REFUSALS

log = logging.getLogger(__name__)

#: Seconds after the end of its pause within which a version that is wanted is tried again, and longer.
_LAPSED_SECONDS = 60.0


@dataclass
class _Refusal:
    error: LabelstreamError
    told: set[str]
    pause: float
    until: float


class Refusals:
    """What this process could not load, and until when it does not try again."""

    def __init__(self, store: Store, worker: str, pause: float = REFUSED_PAUSE_SECONDS) -> None:
        self._store = store
        self._worker = worker
        self._first_pause = pause
        self._lock = threading.Lock()
        self._refused: dict[VersionKey, _Refusal] = {}

    def refuse(self, version: Version, error: LabelstreamError) -> None:
        """Leave `version` alone for a while, and tell why: in the log, and in the registry.

        Threads that waited for one load bring the same error, which counts once.
        """
        reason = one_line(error)
        with self._lock:
            known = self._refused.get(key_of(version))
            if known is None:
                known = _Refusal(error, set(), self._first_pause, 0.0)
                self._refused[key_of(version)] = known
            elif known.error is error:
                return
            else:
                known.pause = min(2 * known.pause, REFUSED_PAUSE_LIMIT_SECONDS)
            known.error = error
            known.until = time.monotonic() + known.pause
            REFUSALS.labels(version.model).inc()
            if reason in known.told:
                return
            known.told.add(reason)
        log.error("model %s was refused: %s", version, reason)
        try:
            record_event(
                self._store, version.model, version.version, REFUSED, who=self._worker, why=reason
            )
        except Exception as failed:  # noqa: BLE001  (the log has it; serving goes on)
            log.warning("the refusal could not be recorded: %s", type(failed).__name__)

    @property
    def count(self) -> int:
        """How many versions this process could not load, and would be served if it could.

        One that nobody wants any more is not tried again when its pause is over.
        """
        now = time.monotonic()
        with self._lock:
            return sum(now < known.until + _LAPSED_SECONDS for known in self._refused.values())

    def forgive(self, version: Version) -> None:
        """Forget what was wrong with a version that is loaded now."""
        with self._lock:
            self._refused.pop(key_of(version), None)

    def pending(self, version: Version) -> LabelstreamError | None:
        """Return why `version` is not to be tried now; None if it is."""
        with self._lock:
            known = self._refused.get(key_of(version))
            if known is None or known.until <= time.monotonic():
                return None
            return known.error
