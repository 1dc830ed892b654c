"""The jobs of one worker process for the tasks of other Celery clients: it is their producer."""

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.exc import DBAPIError

from db.defaults import RENEW_SECONDS, TASK_JOBS
from db.errors import LabelstreamError, one_line
from db.ledger.ending import end_if_complete
from db.ledger.entries import TASKS, Entered, Entry, EntryRow, RefusedRow
from db.ledger.jobs import NewJob, create_job
from db.ledger.producing import JobLost, JobWriter
from db.registry.names import ModelRef
from db.store import Store, error_kind
from db.text import is_storable, text_hash

log = logging.getLogger(__name__)

#: Longest id of a task that is kept as it is; those of Celery have 36 characters.
_ID_CHARACTERS = 200

#: Jobs that are begun for one task when each is lost at once: somebody cancels them.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class TaskJobKey:
    """What the tasks of one job have in common."""

    model: ModelRef
    id_scope: str
    store_text: bool
    queue: str


class TaskJobs:
    """Enters tasks into jobs of this process, each under a lease that a thread renews."""

    def __init__(
        self, store: Store, worker: str, process: str, *, every: float = RENEW_SECONDS
    ) -> None:
        self._store = store
        self._worker = worker
        self._process = process
        self._every = every
        self._lock = threading.Lock()
        #: The least recently used first.
        self._writers: OrderedDict[TaskJobKey, JobWriter] = OrderedDict()
        self._leaving = threading.Event()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="task-jobs", daemon=True)

    def start(self) -> None:
        """Begin to renew the leases."""
        self._thread.start()

    def enter(
        self, key: TaskJobKey, task_id: str, rows: Sequence[EntryRow | RefusedRow]
    ) -> tuple[int, Entered]:
        """Commit the rows of a task as one chunk, unless a task with this id was entered before.

        Return the job and what became of the rows. The chunk counts as sent: its caller labels it.
        """
        entry = Entry(_storable_id(task_id), rows)
        for last in (*[False] * (_TRIES - 1), True):
            writer = self._writer(key)
            try:
                return writer.job, writer.add_entries(TASKS, [entry], sent=True)
            except JobLost as lost:
                self._drop(key, writer, lost)
                if last:
                    raise
        raise AssertionError("unreachable")

    def drain(self) -> None:
        """Try nothing again: a task that cannot be entered now goes back into its queue."""
        self._give_up.set()

    def stop(self) -> None:
        """End the jobs; what is still open of them is labelled by others."""
        self._give_up.set()
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        with self._lock:
            writers = list(self._writers.values())
            self._writers.clear()
        for writer in writers:
            self._end(writer)

    def _writer(self, key: TaskJobKey) -> JobWriter:
        with self._lock:
            writer = self._writers.get(key)
            if writer is None:
                writer = self._begin(key)
                self._writers[key] = writer
            self._writers.move_to_end(key)
            too_many = [
                self._writers.popitem(last=False)[1] for _ in range(len(self._writers) - TASK_JOBS)
            ]
        for idle in too_many:
            self._end(idle)
        return writer

    def _begin(self, key: TaskJobKey) -> JobWriter:
        new = NewJob(
            source=f"tasks of {self._worker}",
            identity="",
            source_identity=TASKS,
            id_scope=key.id_scope,
            options={},
            model=key.model.model,
            model_ref=str(key.model),
            queue=key.queue,
            position={"file": 0, "offset": 0, "line": 0, "row": 0},
            store_text=key.store_text,
            stream="task",
            continues=False,
        )
        production = self._store.retrying(
            # Anew at each try: one whose answer was lost is a job of its own, without a producer.
            lambda: create_job(self._store, replace(new, identity=uuid.uuid4().hex), self._process),
            on_trouble=log.warning,
            give_up=self._give_up,
        )
        log.info("job %s: %s with %s", production.job, new.source, key.model)
        return JobWriter(
            self._store, production, key.queue, on_trouble=log.warning, give_up=self._give_up
        )

    def _drop(self, key: TaskJobKey, writer: JobWriter, lost: JobLost) -> None:
        log.warning("%s", one_line(lost))
        with self._lock:
            if self._writers.get(key) is writer:
                del self._writers[key]

    def _end(self, writer: JobWriter) -> None:
        try:
            writer.exhaust()
            end_if_complete(self._store, writer.job)
        except (LabelstreamError, DBAPIError) as error:
            kind = error_kind(error) if isinstance(error, DBAPIError) else one_line(error)
            log.warning("job %s is left to the sweeper: %s", writer.job, kind)

    def _run(self) -> None:
        while not self._leaving.wait(self._every):
            with self._lock:
                writers = list(self._writers.items())
            for key, writer in writers:
                try:
                    writer.renew()
                except JobLost as lost:
                    self._drop(key, writer, lost)
                except (LabelstreamError, DBAPIError) as error:
                    log.warning("job %s: its lease: %s", writer.job, type(error).__name__)


def _storable_id(task_id: str) -> str:
    """Return what stands for a task's id, which its client made up, in an index."""
    if len(task_id) <= _ID_CHARACTERS and is_storable(task_id):
        return task_id
    return f"hash of {text_hash(task_id)}"
