"""Keeps the leases of the chunks that this process holds, for as long as it makes progress."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from db.defaults import RENEW_SECONDS
from db.ledger.claiming import Claim, renew
from db.store import Store, error_kind

log = logging.getLogger(__name__)


class Hold:
    """One held chunk: whether its lease was lost, and the step its thread is in."""

    def __init__(self, claim: Claim, progress: int) -> None:
        self.claim = claim
        self.lost = threading.Event()
        self._step_ends: float | None = None
        self._renewed_at = time.monotonic()
        self._progress = progress

    @contextmanager
    def step(self, limit: float) -> Iterator[None]:
        """Be in a step that may take `limit` seconds: the lease is renewed during these."""
        self._step_ends = time.monotonic() + limit
        try:
            yield
        finally:
            self._step_ends = None

    def deserves_renewal(self, progress: int, every: float) -> bool:
        """Whether the lease is due to be renewed, and has earned it."""
        now = time.monotonic()
        if self.lost.is_set() or now - self._renewed_at < every:
            return False
        ends = self._step_ends
        return progress != self._progress or (ends is not None and now < ends)

    def was_renewed(self, progress: int) -> None:
        """Begin the next period."""
        self._renewed_at = time.monotonic()
        self._progress = progress


class LeaseKeeper:
    """A thread that renews leases every few seconds, by progress only.

    `progress` counts the micro-batches that the process finished: a process that hangs loses its
    leases, one that works keeps them however long its queue is.
    """

    def __init__(
        self, store: Store, progress: Callable[[], int], *, every: float = RENEW_SECONDS
    ) -> None:
        self._store = store
        self._progress = progress
        self._every = every
        self._holds: set[Hold] = set()
        self._lock = threading.Lock()
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; leases that are still held run out."""
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def held(self) -> int:
        """How many chunks this process holds."""
        with self._lock:
            return len(self._holds)

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[Hold]:
        """Keep the lease of `claim` until the block ends."""
        hold = Hold(claim, self._progress())
        with self._lock:
            self._holds.add(hold)
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.discard(hold)

    def _run(self) -> None:
        while not self._stop.wait(self._every / 10):
            with self._lock:
                holds = list(self._holds)
            progress = self._progress()
            for hold in holds:
                if hold.deserves_renewal(progress, self._every):
                    self._renew(hold, progress)

    def _renew(self, hold: Hold, progress: int) -> None:
        try:
            kept = renew(self._store, hold.claim)
        except Exception as error:  # noqa: BLE001  (a renewal that fails must not be the last)
            kind = error_kind(error) if isinstance(error, DBAPIError) else type(error).__name__
            log.log(
                logging.DEBUG if self._failing else logging.WARNING,
                "a lease could not be renewed (%s); trying again",
                kind,
            )
            self._failing = True
            return
        self._failing = False
        if kept:
            hold.was_renewed(progress)
        elif not self._released(hold):
            hold.lost.set()

    def _released(self, hold: Hold) -> bool:
        with self._lock:
            return hold not in self._holds
