"""`producer ingest` of a source without an end: until it ends after all, or the producer is stopped."""

from contextlib import closing

from db.errors import JobFailed, one_line
from db.ledger.jobs import JobRecord, get_job
from db.ledger.producing import JobLost
from db.registry.names import ModelRef, parse_ref
from db.settings import Settings
from producer.beginning import Beginning, begin_job
from producer.draining import Drain, draining
from producer.ingest import check_model, done_already
from producer.live_source import LiveSource
from producer.outcome import Outcome, finish
from producer.request import IngestRequest
from producer.running import JobRun
from producer.screen import Screen
from producer.services import Services, open_services
from producer.summary import summarise
from producer.terminal import counted

#: Seconds for which the beginning of a source is waited for before services are started for it.
_OPEN_SECONDS = 1.0


def ingest_stream(
    source: LiveSource, request: IngestRequest, settings: Settings, screen: Screen
) -> Outcome:
    """Enter the rows of a source as they come, until it ends or the first Ctrl-C or TERM.

    Then what was read is entered, with `wait` also labelled, and the job stays open for the next
    producer if its source has more to come. Raises what `ingest` raises.
    """
    reference = parse_ref(request.model)
    with closing(source):
        is_open = source.open(screen.say, _OPEN_SECONDS)
        with open_services(settings, queue=request.queue, say=screen.say) as services:
            check_model(services.store, reference)
            if not is_open:
                source.open(screen.say, None)
            drain = Drain()
            while True:
                outcome = _enter(services, source, reference, request, screen, drain)
                if outcome is not None:
                    return outcome


def _enter(
    services: Services,
    source: LiveSource,
    reference: ModelRef,
    request: IngestRequest,
    screen: Screen,
    drain: Drain,
) -> Outcome | None:
    """Enter rows into one job; None if it was lost, and the source goes on in another."""
    store = services.store
    new = source.new_job(reference, services)
    beginning = begin_job(store, new, again=request.again, say=screen.say, resumes=request.resumes)
    job = beginning.job
    if beginning.production is None:
        screen.say(done_already(job, new, same_rows=source.has_rows_of(job)))
        return finish(store, job, wait=True)
    if beginning.continued:
        screen.say(f"continuing job {job.id} after row {job.position.get('row', 0):,}")
    else:
        screen.say(f"job {job.id}: {new.source} with {reference}")
    try:
        _run(services, beginning, source, request, screen, drain)
    except JobLost as lost:
        if not _goes_on(services, source, job, drain):
            return Outcome(summarise(store, job.id), str(lost))
        screen.warn(f"{one_line(lost)}; going on in another job")
        return None
    except JobFailed as failed:
        return Outcome(summarise(store, job.id), str(failed))
    if drain.is_set():
        screen.say(_how_to_go_on(get_job(store, job.id)))
    return finish(store, job, wait=request.wait)


def _goes_on(services: Services, source: LiveSource, job: JobRecord, drain: Drain) -> bool:
    """Whether a producer that lives was only taken for dead: nobody ended its job on purpose."""
    if not source.begins_again or drain.is_set():
        return False
    store = services.store
    return store.retrying(lambda: get_job(store, job.id)).state in ("running", "done")


def _run(
    services: Services,
    beginning: Beginning,
    source: LiveSource,
    request: IngestRequest,
    screen: Screen,
    drain: Drain,
) -> None:
    assert beginning.production is not None  # noqa: S101
    job = beginning.job
    run = JobRun(services, job, beginning.production, screen, max_queued=request.max_queued)
    chunks = source.chunks(services, job, drain)
    try:
        with draining(drain):
            run.run(chunks, wait=request.wait, drain=drain)
    except KeyboardInterrupt:
        if chunks.unentered and not job.continues:
            lost = counted(chunks.unentered, "row")
            screen.warn(f"{lost} of {job.source} had been read and are not in the database")
        raise


def _how_to_go_on(job: JobRecord) -> str:
    if not job.source_exhausted:
        return (
            f"job {job.id} is stopped and stays open after row {job.position['row']:,}; the same "
            f"command goes on with it, and so does: producer resume {job.id}"
        )
    if job.continues:
        return f"job {job.id} has all rows of its source"
    return f"job {job.id} has what was read; the same command reads what comes after, in a new job"
