"""`producer relabel`: a new job over the texts that a finished job stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select

from db.errors import JobFailed, UsageError
from db.ledger.jobs import JobRecord, NewJob, get_job
from db.registry.names import parse_ref
from db.schema import LabeledText
from db.settings import Settings
from db.store import Store
from producer.beginning import begin_job
from producer.chunking import chunked, placed
from producer.identity import digest
from producer.ingest import check_model
from producer.outcome import Outcome, finish
from producer.rows import Row
from producer.running import JobRun
from producer.screen import Screen
from producer.services import open_services
from producer.summary import summarise

#: Stored rows fetched at once.
_PAGE_ROWS = 5_000


class StoredTexts:
    """The stored texts of a job, in row order, from the row after `after` on.

    Rows keep the number they have there, so that two labels of one text are found side by side.
    """

    def __init__(self, store: Store, job_id: int, after: int) -> None:
        self._store = store
        self._job = job_id
        self._after = after
        self._rows = self._count(LabeledText.row_number > 0)
        self._read = self._count(LabeledText.row_number <= after)

    @property
    def progress(self) -> tuple[int, int]:
        """Texts that are read, and all texts."""
        return self._read, self._rows

    def position(self) -> Mapping[str, Any]:
        """Return where reading goes on."""
        return {"file": 0, "offset": 0, "line": 0, "row": self._after}

    def __iter__(self) -> Iterator[Row]:
        while page := self._page():
            for row in page:
                self._after = row.row_number
                self._read += 1
                yield row

    def _page(self) -> list[Row]:
        query = (
            select(
                LabeledText.row_number,
                LabeledText.text,
                LabeledText.external_id,
                LabeledText.extra,
            )
            .where(
                LabeledText.job_id == self._job,
                LabeledText.row_number > self._after,
                LabeledText.text.is_not(None),
            )
            .order_by(LabeledText.row_number)
            .limit(_PAGE_ROWS)
        )
        with self._store.read() as connection:
            return [Row(*row) for row in connection.execute(query)]

    def _count(self, which: ColumnElement[bool]) -> int:
        query = select(func.count()).where(LabeledText.job_id == self._job, which)
        with self._store.read() as connection:
            return connection.execute(query).scalar_one()


def relabel(
    parent_id: int,
    model: str | None,
    settings: Settings,
    screen: Screen,
    *,
    chunk_rows: int,
    max_queued: int,
    queue: str,
    wait: bool,
    again: bool,
    resumes: int | None = None,
) -> Outcome:
    """Label the texts of a finished job anew, in a new job with that one as its parent.

    A job that failed is an outcome. Raises `UsageError` for a parent that runs, was purged, or
    kept no texts.
    """
    with open_services(settings, queue=queue, say=screen.say) as services:
        parent = get_job(services.store, parent_id)
        _check_parent(parent)
        reference = parse_ref(model or settings.model)
        check_model(services.store, reference)
        new = NewJob(
            source=f"job {parent.id}: {parent.source}",
            identity=digest(["relabel", parent.id, str(reference)]),
            source_identity=parent.source_identity,
            id_scope=parent.id_scope,
            options={"chunk_rows": chunk_rows, "max_queued": max_queued},
            model=reference.model,
            model_ref=str(reference),
            queue=queue,
            position={"file": 0, "offset": 0, "line": 0, "row": 0},
            parent_job=parent.id,
        )
        beginning = begin_job(services.store, new, again=again, say=screen.say, resumes=resumes)
        if beginning.production is None:
            screen.say(f"job {beginning.job.id} has relabelled these texts already")
            return finish(services.store, beginning.job, wait=True)
        # Looked at again now that the new job holds off a purge.
        _check_parent(get_job(services.store, parent.id))
        screen.say(f"job {beginning.job.id}: texts of job {parent.id} with {reference}")
        texts = StoredTexts(services.store, parent.id, after=beginning.job.position["row"])
        run = JobRun(services, beginning.job, beginning.production, screen, max_queued=max_queued)
        run.progress = lambda: texts.progress
        try:
            chunks = chunked(lambda _: texts, chunk_rows)
            run.run(placed(chunks, texts.position), wait=wait)
        except JobFailed as failed:
            return Outcome(summarise(services.store, beginning.job.id), str(failed))
        return finish(services.store, beginning.job, wait=wait)


def _check_parent(parent: JobRecord) -> None:
    if parent.state == "running" and parent.producer_lease_until is None:
        raise UsageError(
            f"job {parent.id} was interrupted; go on with it: producer resume {parent.id}, or end "
            f"it: producer cancel {parent.id}"
        )
    if parent.state == "running":
        raise UsageError(
            f"job {parent.id} is running; wait for its end: producer status {parent.id}"
        )
    if parent.state == "purged":
        raise UsageError(f"job {parent.id} was purged: its texts are gone; ingest the source again")
    if not parent.store_text:
        raise UsageError(
            f"job {parent.id} stored no texts (--no-store-text); ingest the source again"
        )
