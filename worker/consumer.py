"""The part of a worker that takes messages: it never ends because of Redis."""

import logging
import random
import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

from db.tries import LONGEST_PAUSE_SECONDS
from worker.outbox import broker_error

log = logging.getLogger(__name__)

#: The first pause before Redis is tried again.
_FIRST_PAUSE_SECONDS = 0.5

#: Seconds that a connection must have held for the pauses to begin anew.
_HEALTHY_SECONDS = 30.0

#: Seconds between two looks, in a pause, at whether the worker was asked to leave.
_LOOK_SECONDS = 0.2

#: Seconds between two messages of task events, of which each has all that happened meanwhile.
_EVENTS_SECONDS = 0.25

#: What reading an item of a queue fails with that is no message.
_NO_MESSAGE = (ValueError, TypeError, AttributeError, LookupError)


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, for which every error of Redis passes.

    Celery itself takes a refusal (no memory left, no disk to write to) for a bug, and ends the
    worker. What was popped and not labelled is sent again by the sweeper.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        # The neighbours are known from the ledger; looking for them takes a second of each start,
        # and of each return of Redis.
        # What Celery 6 may do one day is no news for whoever reads this log.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        alone = {"without_mingle": True, "without_gossip": True}
        super().__init__(*args, **{**options, **alone})
        # The second is what kombu makes of the others while it connects.
        ours = (ResponseError, OperationalError, *_NO_MESSAGE)
        self.connection_errors: tuple[type[Exception], ...] = self.connection_errors + ours
        self._pause = _FIRST_PAUSE_SECONDS
        self._failed_at = float("-inf")
        self._told = False
        self._is_leaving_connection = False
        self._flushed_at = self._flush_due_at = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes; a worker that is asked to leave does so."""
        connected = conn.ensure_connection(
            self._not_connected,
            interval_start=_FIRST_PAUSE_SECONDS,
            # Each worker has pauses of its own, lest all of them come back at once.
            interval_step=random.uniform(0.5, 1.0),  # noqa: S311
            interval_max=LONGEST_PAUSE_SECONDS,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        self._is_leaving_connection = False
        return connected

    def on_ready(self) -> None:
        """Tell that messages come again, if they did not."""
        super().on_ready()
        if self._told:
            log.info("broker %s is back", self.conninfo.as_uri())
        self._told = False

    def _flush_events(self) -> None:
        """Send the events that wait, not more often than monitors look at them."""
        now = time.monotonic()
        rest = self._flushed_at + _EVENTS_SECONDS - now
        if rest <= 0:
            self._flushed_at = now
            super()._flush_events()
        elif self._flush_due_at <= now:
            # A timer that left with a lost connection is past its time one day.
            self._flush_due_at = now + rest
            self.hub.call_later(rest, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_due_at = float("-inf")
        self._flush_events()

    def call_soon_ack(self, p: Any, *args: Any, **options: Any) -> Any:
        """Let the thread of the connection acknowledge, or give back, a message by `p`."""
        return super().call_soon_ack(self._acknowledge, p, *args, **options)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait a moment before the next try."""
        self._wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection, and wait a moment; the chunks in hand are labelled meanwhile."""
        super().on_connection_error_after_connected(exc)
        self._wait(exc)

    def _acknowledge(self, p: Any, logger: Any, _: Any, *args: Any, **options: Any) -> None:
        """Acknowledge a message, or make the connection anew if that fails.

        Celery would only log it, and each message that stays open is one less that this worker
        takes: after as many as it has threads it would take none, for ever.
        """
        if self._is_leaving_connection:
            return
        try:
            p(logger, (), *args, **options)
        except self.connection_errors as error:
            log.debug("a message could not be acknowledged: %s", broker_error(error))
            self._is_leaving_connection = True
            self.call_soon(self._leave_connection, error)

    def _leave_connection(self, error: Exception) -> None:
        raise error

    def _not_connected(self, exc: Exception, _: float) -> None:
        if isinstance(exc, _NO_MESSAGE):
            log.error("refused: what is no message of Celery (%s)", type(exc).__name__)
            return
        log.log(
            logging.DEBUG if self._told else logging.ERROR,
            "broker %s cannot be used (%s); trying again until it can",
            self.conninfo.as_uri(),
            broker_error(exc),
        )
        self._told = True

    def _wait(self, exc: Exception) -> None:
        self._not_connected(exc, 0)
        now = time.monotonic()
        if now - self._failed_at > _HEALTHY_SECONDS or isinstance(exc, _NO_MESSAGE):
            self._pause = _FIRST_PAUSE_SECONDS
        self._failed_at = now
        until = now + self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        while time.monotonic() < until:
            maybe_shutdown()
            time.sleep(_LOOK_SECONDS)
