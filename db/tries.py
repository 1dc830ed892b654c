"""Trying a transaction again while its failure may pass, and telling people of it once."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from db.errors import ServiceUnavailable
from db.failures import error_kind, is_contention, may_pass

#: The first pause between two tries, and the longest: they double, each shortened by up to a half.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

#: Seconds for which waiting for others, who merely were first, is nothing to tell of.
CONTENTION_SECONDS = 60.0

#: Who tells a person one line.
Tell = Callable[[str], None]

#: What a transaction fails with: the database's errors, and that of a pool of which all
#: connections are busy, as they are while the database is away.
TransactionError = DBAPIError | PoolTimeoutError


class Outage:
    """Whether a database is known to fail: many threads meet that at once, and one tells it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = False
        self._over_at = float("-inf")

    def begins(self, tried_at: float) -> bool:
        """Take it on to tell of a failure; False if another does, or if it was before the end."""
        with self._lock:
            if self._known or tried_at < self._over_at:
                return False
            self._known = True
            return True

    def ends(self) -> None:
        """Be told of the next failure again; called by whoever took it on."""
        with self._lock:
            self._known = False
            self._over_at = time.monotonic()


class Tries(AbstractContextManager["Tries"]):
    """The tries of one transaction on the database called `name`.

    `tell` is told in one line that the database fails, and in another that it works again. Setting
    `give_up` makes the next failure the last.
    """

    def __init__(
        self,
        name: str,
        outage: Outage,
        seconds: float,
        tell: Tell | None = None,
        give_up: threading.Event | None = None,
    ) -> None:
        self._name = name
        self._outage = outage
        self._seconds = seconds
        self._tell = tell
        self._give_up = give_up or threading.Event()
        self._began = self._tried_at = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS
        self._telling = False

    def failed(self, error: TransactionError) -> None:
        """Wait for the next try; raises `error` if it will not pass, `ServiceUnavailable` in the end."""
        if isinstance(error, DBAPIError) and not may_pass(error):
            raise error
        kind = error_kind(error) if isinstance(error, DBAPIError) else "no connection is free"
        lasted = time.monotonic() - self._began
        if lasted + self._pause > self._seconds or self._give_up.is_set():
            raise ServiceUnavailable(
                f"database {self._name} failed for {lasted:.0f} s ({kind}); "
                "see that it runs, may be written and has room, then continue the job"
            ) from None
        others = isinstance(error, DBAPIError) and is_contention(error)
        if not (others and lasted < CONTENTION_SECONDS):
            self._tell_once(f"{kind}; trying again for {self._seconds:.0f} s")
        self._give_up.wait(self._pause * random.uniform(0.5, 1.0))  # noqa: S311
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        self._tried_at = time.monotonic()

    def _tell_once(self, what: str) -> None:
        if self._tell and not self._telling and self._outage.begins(self._tried_at):
            self._telling = True
            self._tell(f"database {self._name}: {what}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._telling:
            return
        self._outage.ends()
        if error is None and self._tell:
            self._tell(f"database {self._name} works again")
