"""`producer ingest`: from files to a job that ends."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from db.defaults import STARTER_MODEL
from db.errors import JobFailed, hide_password
from db.ledger.jobs import JobRecord, NewJob
from db.registry.names import ModelRef, parse_ref
from db.registry.versions import list_versions, resolve
from db.row_rules import unstorable
from db.settings import Settings
from db.store import Store
from producer.beginning import CONTENT, SOURCES, Beginning, begin_job
from producer.chunking import chunked, placed
from producer.identity import content_identity, job_identity, source_identity
from producer.outcome import Outcome, finish
from producer.reader import Reader
from producer.request import IngestRequest
from producer.rows import Position, ReadOptions
from producer.running import JobRun
from producer.screen import Screen
from producer.services import Services, open_services
from producer.source_file import SourceFile
from producer.sources import resolve_sources
from producer.summary import summarise

#: Where reading a source begins.
START = Position(file=0, offset=0, line=0, row=0)


def ingest(request: IngestRequest, settings: Settings, screen: Screen) -> Outcome:
    """Enter every row of the sources and, unless told not to, wait for their labels.

    A job that failed is an outcome. Raises `UsageError` for a source that cannot be used, and
    `ServiceUnavailable` for a database or broker that cannot be reached.
    """
    reference = parse_ref(request.model)
    sources = resolve_sources(request.sources)
    reader = open_reader(sources, request.read, START)
    with open_services(settings, queue=request.queue, say=screen.say) as services:
        for note in reader.notes:
            screen.say(note)
        check_model(services.store, reference)
        new = _new_job(request, sources, reader.options, reference)
        beginning = begin_job(
            services.store, new, again=request.again, say=screen.say, resumes=request.resumes
        )
        if beginning.production is None:
            screen.say(done_already(beginning.job, new))
            return finish(services.store, beginning.job, wait=True)
        if beginning.continued:
            start = Position(**beginning.job.position)
            screen.say(f"continuing job {beginning.job.id} after row {start.row:,}")
            reader = open_reader(sources, request.read, start)
        else:
            screen.say(f"job {beginning.job.id}: {new.source} with {reference}")
        try:
            _run(services, beginning, reader, request, screen)
        except JobFailed as failed:
            return Outcome(summarise(services.store, beginning.job.id), str(failed))
        return finish(services.store, beginning.job, wait=request.wait)


def open_reader(sources: list[SourceFile], options: ReadOptions, start: Position) -> Reader:
    """Open the sources and check what can be checked before the first row."""
    reader = Reader(sources, options, start)
    reader.open()
    return reader


def check_model(store: Store, reference: ModelRef) -> None:
    """Raise `RegistryError` for a model that is not there.

    The starter model may be missing from an empty registry: the first worker registers it.
    """
    if reference.model == STARTER_MODEL and not list_versions(store, STARTER_MODEL):
        return
    resolve(store, reference)


def done_already(job: JobRecord, new: NewJob, *, same_rows: bool = True) -> str:
    """Say that there is nothing to do, for `job` has done it, or has what names it."""
    if same_rows and job.options.get(CONTENT) == new.options.get(CONTENT):
        return f"job {job.id} has these rows already; --again labels them once more, in a new job"
    return (
        f"job {job.id} has the key {new.options['job_key']!r} already, but labelled other rows or "
        f"otherwise ({job.source}); --again labels these, in a new job"
    )


def _run(
    services: Services,
    beginning: Beginning,
    reader: Reader,
    request: IngestRequest,
    screen: Screen,
) -> None:
    assert beginning.production is not None  # noqa: S101
    run = JobRun(
        services,
        beginning.job,
        beginning.production,
        screen,
        max_queued=request.max_queued,
    )
    run.progress = lambda: reader.progress
    chunks = chunked(reader.runs, request.chunk_rows, keep_raw=request.store_text)
    run.run(placed(chunks, lambda: asdict(reader.position)), wait=request.wait)


def _new_job(
    request: IngestRequest,
    sources: list[SourceFile],
    columns: ReadOptions,
    reference: ModelRef,
) -> NewJob:
    names = [source.name for source in sources]
    options = job_options(request, columns, [source.url for source in sources])
    if request.job_key is not None:
        options[CONTENT] = content_identity(sources, columns, request, str(reference))
    return NewJob(
        source=" ".join(names),
        identity=job_identity(sources, columns, request, str(reference)),
        source_identity=source_identity(sources),
        id_scope=request.id_scope or " ".join(names),
        options=options,
        model=reference.model,
        model_ref=str(reference),
        queue=request.queue,
        position=asdict(START),
        store_text=request.store_text,
    )


def job_options(
    request: IngestRequest, columns: ReadOptions, sources: Sequence[str]
) -> dict[str, Any]:
    """Return what a job remembers of how it was asked for; `columns` are those that are read.

    `sources` are what opens them again. Where one holds credentials, none is kept.
    """
    return {
        **asdict(replace(columns, keep_columns=tuple(columns.keep_columns))),
        "keep_columns": list(columns.keep_columns),
        "chunk_rows": request.chunk_rows,
        "max_queued": request.max_queued,
        "max_wait": request.max_wait,
        "max_rejects": request.max_rejects,
        "job_key": request.job_key,
        "id_scope": request.id_scope,
        SOURCES: list(sources) if all(map(_may_be_kept, sources)) else None,
    }


def _may_be_kept(source: str) -> bool:
    # A path may have bytes that are no text, which the database cannot hold.
    return hide_password(source) == source and unstorable(source) is None
