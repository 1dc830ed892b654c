"""kombu's transport for Redis, with half of the round trips for a chunk's message.

A client of redis-py is made for each operation (its table of answers is filled anew, 60 us), though it is
but a pool with methods. And each message that is taken is noted in Redis until it is acknowledged, for a
worker that dies with it: a chunk's message need not be, for the ledger knows of the chunk, and the
sweeper sends the message again. A task of another client is noted as ever: until it is entered, the text
stands nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from worker.messages import LABEL_CHUNK


class QoS(redis.QoS):
    """What a worker has taken and not acknowledged; in Redis only what nobody could send again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]
        #: Messages of chunks, by their tag.
        self._of_chunks: dict[str, Any] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a message."""
        headers = message.headers
        if isinstance(headers, dict) and headers.get("task") == LABEL_CHUNK:
            self._of_chunks[delivery_tag] = message
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        """Let go of a message that is done."""
        if self._of_chunks.pop(delivery_tag, None) is None:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        else:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Let go of a message, or give it back to its queue."""
        if delivery_tag in self._of_chunks and not requeue:
            self.ack(delivery_tag)
        else:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back to its queue."""
        message = self._of_chunks.pop(tag, None)
        if message is None:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
            return
        way = message.delivery_info
        with self.channel.conn_or_acquire(client) as chosen, chosen.pipeline() as pipe:
            self.channel._do_restore_message(
                message._raw, way["exchange"], way["routing_key"], pipe, leftmost
            )
            pipe.execute()


class Channel(redis.Channel):
    """A channel that keeps its client for as long as it keeps the pool."""

    QoS = QoS

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
