"""The one task: label the chunk that a message names."""

import logging

from celery import shared_task
from celery.exceptions import Reject

from db.errors import LabelstreamError, one_line
from worker.lifecycle import current_runtime
from worker.messages import LABEL_CHUNK, ChunkMessage, MessageRefusedError

log = logging.getLogger(__name__)


@shared_task(name=LABEL_CHUNK)
def label_chunk(wire: object) -> None:
    """Label one chunk; the ledger decides about retries, so an error here only ends this try."""
    try:
        message = ChunkMessage.from_wire(wire)
    except MessageRefusedError as error:
        log.error("refused: %s", error)
        return
    try:
        finished = current_runtime().labeler.label(message)
    except LabelstreamError as error:
        log.error("job %s chunk %s: %s", message.job, message.chunk, one_line(error))
        return
    if not finished:
        # This worker leaves: the message goes back to Redis at once, for another.
        raise Reject(requeue=True)
