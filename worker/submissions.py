"""Texts that other Celery clients send: into the ledger first, then labelled like any other chunk."""

import logging
import threading

from sqlalchemy.exc import DBAPIError

from db.errors import RegistryError, RegistryUnavailable
from db.ledger.entries import TASKS, RefusedRow
from db.registry.names import ModelRef, parse_ref
from db.registry.versions import resolve
from db.store import Store, error_kind
from worker.messages import ChunkMessage, MessageRefusedError
from worker.task_jobs import TaskJobKey, TaskJobs
from worker.texts_message import TextsMessage

log = logging.getLogger(__name__)


class Submissions:
    """Takes tasks of other clients, for one worker process that serves `queues`."""

    def __init__(
        self,
        store: Store,
        ledger: str,
        jobs: TaskJobs,
        queues: list[str],
        model: str,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._jobs = jobs
        self._queues = queues
        self._model = model
        self._leaving = threading.Event()

    def take(self, wire: object, task_id: str, queue: str | None) -> ChunkMessage | None:
        """Enter what `wire` asks for; return the chunk that is to be labelled, None if there is none.

        Raises `MessageRefusedError`, whose words hold nothing of the message, for one that cannot be
        entered, and `ServiceUnavailable` where the database is away.
        """
        message = TextsMessage.from_wire(wire)
        key = TaskJobKey(
            model=self._existing(message.model or parse_ref(self._model)),
            id_scope=message.id_scope or TASKS,
            store_text=message.store_text,
            queue=self._served(queue),
        )
        try:
            job, entered = self._jobs.enter(key, task_id, message.rows)
        except DBAPIError as error:
            # One that may pass was tried again; this one would fail for ever.
            raise MessageRefusedError(f"the database refuses it ({error_kind(error)})") from None
        if not entered.rows:
            log.info("task known already: nothing is entered")
            return None
        rejected = sum(isinstance(row, RefusedRow) for row in message.rows)
        log.info(
            "task entered: job=%s chunk=%s rows=%s rejected=%s",
            job,
            entered.number,
            entered.rows,
            rejected,
        )
        if entered.number is None:
            return None
        return ChunkMessage(self._ledger, job, entered.number)

    @property
    def leaving(self) -> bool:
        """Whether this worker takes no more."""
        return self._leaving.is_set()

    def start(self) -> None:
        """Begin to hold the jobs of tasks."""
        self._jobs.start()

    def drain(self) -> None:
        """Take no more; a task that waits for the database goes back into its queue."""
        self._leaving.set()
        self._jobs.drain()

    def stop(self) -> None:
        """End the jobs; what is still open of them is labelled by others."""
        self._jobs.stop()

    def _existing(self, model: ModelRef) -> ModelRef:
        try:
            self._store.retrying(lambda: resolve(self._store, model))
        except RegistryUnavailable:
            raise
        except RegistryError:
            raise MessageRefusedError("the model that it names is not there") from None
        return model

    def _served(self, queue: str | None) -> str:
        # A client may write anything there, and a chunk in a queue of nobody would wait for ever.
        return queue if queue in self._queues and queue is not None else self._queues[0]
