"""kombu's transport for Redis, with one client a connection pool rather than one an operation.

Making a client of redis-py takes a quarter of a millisecond (its table of answers is filled anew), and
kombu makes one each time it acknowledges, sends, or publishes an event. A client is but a pool with
methods, safe for several threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """A channel that keeps its client for as long as it keeps the pool."""

    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Give `client`, or the channel's own."""
        kept = self._kept
        # After a lost connection the channel begins with a new pool.
        if kept is None or kept.connection_pool is not self.pool:
            kept = self._kept = self._create_client()  # type: ignore[no-untyped-call]
        yield client or kept


class Transport(redis.Transport):
    """Transport of such channels."""

    Channel = Channel


def use() -> None:
    """Let URLs of Redis mean this transport, in this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
