"""Messages into Redis, by Celery."""

import textwrap

from celery import Celery

from db.errors import one_line
from db.interrupts import in_one_piece
from db.ledger.sweeping import ChunkId
from worker.messages import LABEL_CHUNK, ChunkMessage

#: A list that never is: appending to it does nothing, but Redis refuses it when it takes no messages.
_NOWHERE = "labelstream:nowhere"

#: Longest reason that people are told, in characters: what Redis says of a full disk is a paragraph.
_REASON_CHARACTERS = 120


class CeleryOutbox:
    """Sends the message of a chunk; what Redis loses, the sweeper sends again."""

    def __init__(self, app: Celery, ledger: str) -> None:
        self._app = app
        self._ledger = ledger

    def send(self, chunk: ChunkId) -> None:
        """Send the message that names `chunk`; kombu's errors mean it was perhaps not sent."""
        message = ChunkMessage(self._ledger, chunk.job, chunk.number)
        # Ctrl-C must not strike inside of Celery's pool, which the sweeper's thread shares.
        with in_one_piece():
            self._app.send_task(
                LABEL_CHUNK,
                args=(message.to_wire(),),
                queue=chunk.queue,
                ignore_result=True,
                retry=False,
                # What task events show of the arguments.
                argsrepr=f"(job {chunk.job} chunk {chunk.number})",
                kwargsrepr="{}",
            )

    def is_empty(self, queue: str) -> bool:
        """Whether no message waits in `queue`; those that a worker holds do not count."""
        with self._app.pool.acquire(block=True, timeout=10) as connection:
            return int(connection.default_channel.client.llen(queue)) == 0

    def check(self) -> None:
        """Reach the broker once, over a connection of its own; raises what kombu or redis raise.

        A server that takes connections and says nothing counts as one that cannot be reached, and
        so does one that takes no messages: it has no memory left, or cannot write to its disk.
        """
        with self._app.connection_for_write() as connection:
            connection.default_channel.client.lpushx(_NOWHERE, "")


def broker_error(error: BaseException) -> str:
    """Tell in a few words why the broker was of no use; no message's text is in them."""
    return textwrap.shorten(one_line(error), _REASON_CHARACTERS, placeholder=" …")
