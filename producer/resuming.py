"""`producer resume`: go on with a job whose producer died or was stopped, by the job's own options."""

from db.errors import JobFailed, UsageError
from db.ledger.jobs import JobRecord, get_job
from db.settings import Settings
from producer.beginning import go_on
from producer.entering import enter
from producer.existing_store import existing_store
from producer.outcome import Outcome, finish
from producer.relabeling import relabel
from producer.request import IngestRequest
from producer.rows import ReadOptions
from producer.running import JobRun
from producer.screen import Screen
from producer.services import open_services
from producer.summary import summarise


def resume(job_id: int, settings: Settings, screen: Screen, *, wait: bool) -> Outcome:
    """Read on where the job stopped, and what its source has not is not read again.

    Raises `UsageError` for a job that has ended, that a living producer reads, whose source has
    changed or cannot be read a second time, and what `ingest` raises.
    """
    with existing_store() as store:
        job = get_job(store, job_id)
    _check(job)
    if job.source_exhausted:
        return _wait_for_labels(job, settings, screen, wait=wait)
    if job.parent_job is not None:
        return relabel(
            job.parent_job,
            job.model_ref,
            settings,
            screen,
            chunk_rows=job.options["chunk_rows"],
            max_queued=job.options["max_queued"],
            queue=job.queue,
            wait=wait,
            again=False,
            resumes=job.id,
        )
    return enter(_request(job, wait=wait), settings, screen)


def _check(job: JobRecord) -> None:
    if job.state == "done":
        raise UsageError(f"job {job.id} is done; see: producer status {job.id}")
    if job.hidden or job.state != "running":
        raise UsageError(
            f"job {job.id} is {job.state} and cannot go on; ingest its source again: it makes a "
            "new job"
        )
    if not job.continues and not job.source_exhausted:
        raise UsageError(
            f"job {job.id} reads {job.source}, which is not read twice; start the same command: "
            "it makes a new job that takes over"
        )


def _request(job: JobRecord, *, wait: bool) -> IngestRequest:
    options = job.options
    sources = options.get("sources")
    if sources is None:
        raise UsageError(
            f"job {job.id} does not hold all that is needed to open its source again (credentials "
            "are not kept); go on with it by the ingest command that began it"
        )
    return IngestRequest(
        sources=tuple(sources),
        model=job.model_ref,
        read=ReadOptions(
            text_column=options["text_column"],
            id_column=options["id_column"],
            keep_columns=tuple(options["keep_columns"]),
            format=options["format"],
            delimiter=options["delimiter"],
            encoding=options["encoding"],
            limit=options["limit"],
        ),
        chunk_rows=options["chunk_rows"],
        max_queued=options["max_queued"],
        max_wait=options["max_wait"],
        queue=job.queue,
        max_rejects=options["max_rejects"],
        store_text=job.store_text,
        job_key=options["job_key"],
        id_scope=options["id_scope"],
        follow=job.stream == "follow",
        wait=wait,
        resumes=job.id,
    )


def _wait_for_labels(job: JobRecord, settings: Settings, screen: Screen, *, wait: bool) -> Outcome:
    """See to it that the rest of a job is labelled whose source was read to its end."""
    with open_services(settings, queue=job.queue, say=screen.say) as services:
        beginning = go_on(services.store, job, say=screen.say)
        if beginning.production is None:
            return finish(services.store, job, wait=wait)
        screen.say(f"job {job.id} has all rows of its source; the rest of them is labelled")
        run = JobRun(services, beginning.job, beginning.production, screen, max_queued=1)
        try:
            run.run((), wait=wait)
        except JobFailed as failed:
            return Outcome(summarise(services.store, job.id), str(failed))
        return finish(services.store, job, wait=wait)
