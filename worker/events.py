"""Task events for Flower and other monitors: what nobody waits for."""

import logging
import time
from typing import Any

from celery.app import events
from celery.events.dispatcher import EventDispatcher

log = logging.getLogger(__name__)

#: Seconds for which no event is sent after one could not be.
_SILENT_SECONDS = 10.0

#: Events of tasks that are sent together at the most; there are two or three of each chunk.
_TOGETHER = 300


class CarelessDispatcher(EventDispatcher):  # type: ignore[misc]
    """Drops an event that cannot be sent, and the next ones for a while.

    Celery's own tries the sign of life for ever, in the thread that takes messages and is to notice
    that the worker shall leave.
    """

    _silent_until = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer_limit = _TOGETHER

    def _publish(self, event: Any, producer: Any, routing_key: str, **_: Any) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            super()._publish(event, producer, routing_key, retry=False)
        finally:
            if self._outbound_buffer:
                # Where Celery puts what it could not send, to send it all one day.
                self._outbound_buffer.clear()
                self._silent_until = time.monotonic() + _SILENT_SECONDS


class Events(events.Events):  # type: ignore[misc]
    """Events as the app makes them."""

    dispatcher_cls = f"{__name__}:{CarelessDispatcher.__name__}"
