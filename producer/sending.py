"""Sending a job's messages while there is a broker, and knowing when there is none."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from db.errors import ServiceUnavailable
from db.ledger.producing import JobWriter
from db.ledger.sweeping import ChunkId, Outbox
from db.tries import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from worker.outbox import broker_error

#: Seconds between two looks at whether a broker that was well still is.
_LOOK_SECONDS = 5.0


class BrokerWatch(AbstractContextManager["BrokerWatch"]):
    """A thread that asks the broker called `name` whether it takes messages, all through a job.

    It asks also while nothing is to be sent: a producer that only waits for labels would else wait
    for ever. `check` reaches the broker once, or raises; `tell` is told when it is away, and when
    it is back.
    """

    def __init__(
        self,
        check: Callable[[], None],
        name: str,
        *,
        patience: float,
        tell: Callable[[str], None],
        every: float = _LOOK_SECONDS,
    ) -> None:
        self._check = check
        self._name = name
        self._patience = patience
        self._tell = tell
        self._every = every
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._reason = ""
        self._finished: int | None = None
        self._finished_at = time.monotonic()
        self._stopping = False
        self._look_now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)

    def __enter__(self) -> "BrokerWatch":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._look_now.set()
        # Nobody waits for an answer that may not come.

    @property
    def away(self) -> bool:
        """Whether the broker takes no messages; the sweeper sends what is not sent meanwhile."""
        return self._away_since is not None

    def failed(self, error: Exception) -> None:
        """Be told that the broker did not take a message; look after it from now on."""
        self._is_ill(error)
        self._look_now.set()

    def judge(self, finished: int) -> None:
        """Raise `ServiceUnavailable` when the broker was away for the patience, for nothing.

        `finished` rows of the job are labelled or rejected: as long as they become more, workers
        still have what to do.
        """
        now = time.monotonic()
        if finished != self._finished:
            self._finished, self._finished_at = finished, now
        with self._lock:
            since, reason = self._away_since, self._reason
        if since is not None and now - max(since, self._finished_at) > self._patience:
            raise ServiceUnavailable(
                f"broker {self._name} took no messages for {now - since:.0f} s ({reason}) and no "
                "row was labelled meanwhile; see that Redis runs and has room, then continue the job"
            )

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            if self.away:
                self._look_now.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._look_now.wait(self._every)
                pause = FIRST_PAUSE_SECONDS
            self._look_now.clear()
            if self._stopping:
                return
            try:
                self._check()
            except Exception as error:  # noqa: BLE001  (kombu and redis raise many)
                self._is_ill(error)
            else:
                self._is_well()

    def _is_ill(self, error: Exception) -> None:
        with self._lock:
            if self._stopping or self._away_since is not None:
                return
            self._away_since, self._reason = time.monotonic(), broker_error(error)
        self._tell(
            f"broker {self._name} takes no messages ({self._reason}); trying again for "
            f"{self._patience:.0f} s; the chunks are safe in the database until it does"
        )

    def _is_well(self) -> None:
        with self._lock:
            if self._stopping or self._away_since is None:
                return
            self._away_since = None
        self._tell(f"broker {self._name} takes messages again")


class Sender:
    """Sends the messages of one job's chunks; without a broker they stay for the sweeper."""

    def __init__(self, writer: JobWriter, outbox: Outbox, queue: str, watch: BrokerWatch) -> None:
        self._writer = writer
        self._outbox = outbox
        self._queue = queue
        self._watch = watch

    def send(self, number: int) -> None:
        """Send the message of a chunk that is safe in the ledger, and note that it was sent."""
        if self._watch.away:
            # Each try would be waited for, and the chunks of the source with it.
            return
        try:
            self._outbox.send(ChunkId(self._writer.job, number, self._queue))
        except Exception as error:  # noqa: BLE001  (kombu and redis raise many; the ledger has the chunk)
            self._watch.failed(error)
            return
        self._writer.note_sent(number)
