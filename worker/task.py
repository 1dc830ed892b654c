"""The tasks: label the chunk that a message names, or texts that another Celery client sends."""

import logging
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject
from sqlalchemy.exc import DBAPIError

from db.errors import LabelstreamError, ServiceUnavailable, one_line
from db.failures import error_kind
from worker.lifecycle import current_runtime
from worker.messages import LABEL_CHUNK, ChunkMessage, MessageRefusedError
from worker.texts_message import LABEL_TEXTS

log = logging.getLogger(__name__)


@shared_task(name=LABEL_CHUNK)
def label_chunk(*arguments: object, **named: object) -> None:
    """Label one chunk; the ledger decides about retries, so an error here only ends this try."""
    try:
        message = ChunkMessage.from_wire(_only_argument(arguments, named))
    except MessageRefusedError as error:
        log.error("refused: %s", error)
        return
    if not _label(message):
        # This worker leaves: the message goes back to Redis at once, for another.
        raise Reject(requeue=True)


@shared_task(name=LABEL_TEXTS, bind=True)
def label_texts(self: Task, *arguments: object, **named: object) -> None:
    """Enter the texts of another client in the ledger, then label them in this thread.

    Once they are entered, the ledger has them, and this message is of no more use.
    """
    submissions = current_runtime().submissions
    if submissions.leaving:
        raise Reject(requeue=True)
    try:
        wire = _only_argument(arguments, named)
        message = submissions.take(wire, str(self.request.id), _queue(self.request))
    except MessageRefusedError as error:
        log.error("refused: a task of another client: %s", error)
        return
    except ServiceUnavailable as error:
        log.error("a task of another client goes back into its queue: %s", one_line(error))
        raise Reject(requeue=True) from None
    except Exception as error:  # noqa: BLE001  (its words may hold a text)
        log.error("refused: a task of another client: %s", type(error).__name__)
        return
    if message is not None:
        # Where this worker cannot, for it leaves, the sweeper sends the chunk's own message.
        _label(message)


def _label(message: ChunkMessage) -> bool:
    try:
        return current_runtime().labeler.label(message)
    except LabelstreamError as error:
        reason = one_line(error)
    except DBAPIError as error:
        reason = f"the database failed ({error_kind(error)})"
    log.error("job %s chunk %s: %s", message.job, message.chunk, reason)
    return True


def _only_argument(arguments: tuple[object, ...], named: dict[str, object]) -> object:
    if len(arguments) != 1 or named:
        raise MessageRefusedError("it has not one argument, or named ones")
    return arguments[0]


def _queue(request: Any) -> str | None:
    key = (request.delivery_info or {}).get("routing_key")
    return key if isinstance(key, str) else None
