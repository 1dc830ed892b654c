"""Messages into Redis, by Celery."""

from celery import Celery

from db.ledger.sweeping import ChunkId
from worker.messages import LABEL_CHUNK, ChunkMessage

#: Seconds for a connection to be made, and for each answer, when the broker is reached at first.
_PATIENCE_SECONDS = 5


class CeleryOutbox:
    """Sends the message of a chunk; what Redis loses, the sweeper sends again."""

    def __init__(self, app: Celery, ledger: str) -> None:
        self._app = app
        self._ledger = ledger

    def send(self, chunk: ChunkId) -> None:
        """Send the message that names `chunk`; kombu's errors mean it was perhaps not sent."""
        message = ChunkMessage(self._ledger, chunk.job, chunk.number)
        self._app.send_task(
            LABEL_CHUNK,
            args=(message.to_wire(),),
            queue=chunk.queue,
            ignore_result=True,
            retry=False,
            # What task events show of the arguments.
            argsrepr=f"(job {chunk.job} chunk {chunk.number})",
        )

    def is_empty(self, queue: str) -> bool:
        """Whether no message waits in `queue`; those that a worker holds do not count."""
        with self._app.pool.acquire(block=True, timeout=10) as connection:
            return int(connection.default_channel.client.llen(queue)) == 0

    def check(self) -> None:
        """Reach the broker once; raises what kombu or redis raise if it cannot be reached.

        A server that takes connections and says nothing counts as one that cannot.
        """
        with self._app.connection_for_write(
            connect_timeout=_PATIENCE_SECONDS,
            transport_options={"socket_timeout": _PATIENCE_SECONDS},
        ) as connection:
            connection.default_channel.client.ping()
