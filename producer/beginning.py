"""Beginning a job: a new one, one to continue, or one that is done already."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from db.defaults import LEASE_SECONDS
from db.errors import UsageError
from db.ledger.ending import end_if_complete
from db.ledger.jobs import (
    AlreadyRunning,
    JobRecord,
    NewJob,
    Production,
    create_job,
    find_job,
    get_job,
    supersede,
    take_over,
)
from db.processes import is_gone, own_name
from db.store import Store

#: The option under which a job that has a key of the user's own remembers what it labels and how.
CONTENT = "content"

#: The option under which a job keeps what opens its sources again.
SOURCES = "sources"


@dataclass(frozen=True)
class Beginning:
    """The job that a call works on; without `production` there is nothing to do."""

    job: JobRecord
    production: Production | None
    continued: bool = False


def producer_name() -> str:
    """Return what names this process in the ledger: host, process id, and a mark of its own."""
    return own_name()


def begin_job(
    store: Store,
    new: NewJob,
    *,
    again: bool,
    say: Callable[[str], None],
    resumes: int | None = None,
) -> Beginning:
    """Return the job for `new`: one that exists under its identity, or else a fresh one.

    A running job whose producer is gone is taken over, for its rows are not labelled yet; to tell
    a dead producer from a living one may take as long as a lease. One that follows a file would
    never end by itself: with `again` it ends with the rows that it has. Raises `UsageError`, naming the
    job and its producer, when it lives, for a job with the same key that reads something else, and
    for a source that is not that of the job which it `resumes`.
    """
    if resumes is not None:
        _refuse_other_source(get_job(store, resumes), new)
    while True:
        job = find_job(store, new.identity)
        if job is not None and job.state == "running":
            _refuse_other_content(job, new)
            if again and not _was_left(job):
                raise UsageError(
                    f"job {job.id} is running on the same rows, so --again must wait; "
                    f"see: producer status {job.id}, or stop it: producer cancel {job.id}"
                )
            production = _take_over(store, job, say)
            if production is None:
                continue
            if again and new.stream == "follow":
                _end_as_it_is(store, production, say)
                continue
            return Beginning(get_job(store, job.id), production, continued=True)
        if job is not None and job.state == "done" and not again:
            return Beginning(job, None)
        try:
            production = create_job(store, new, producer_name())
        except AlreadyRunning:
            continue
        return Beginning(get_job(store, production.job), production)


def _end_as_it_is(store: Store, production: Production, say: Callable[[str], None]) -> None:
    supersede(store, production)
    end_if_complete(store, production.job)
    say(f"job {production.job} ends with the rows that it has; a new job reads from the start")


def go_on(store: Store, job: JobRecord, *, say: Callable[[str], None]) -> Beginning:
    """Take a running job over as it is; without `production` if it has ended meanwhile.

    Raises `UsageError`, naming its producer, while that one lives.
    """
    while job.state == "running":
        production = _take_over(store, job, say)
        job = get_job(store, job.id)
        if production is not None:
            return Beginning(job, production, continued=True)
    return Beginning(job, None)


def _refuse_other_source(job: JobRecord, new: NewJob) -> None:
    if job.identity != new.identity or job.options.get(CONTENT) != new.options.get(CONTENT):
        raise UsageError(
            f"the source of job {job.id} has changed since it began ({job.source}); label it as it "
            f"is now, in a new job, by producer ingest, and end this one: producer cancel {job.id}"
        )


def _refuse_other_content(job: JobRecord, new: NewJob) -> None:
    if job.options.get(CONTENT) != new.options.get(CONTENT):
        raise UsageError(
            f"job {job.id} has the key {new.options['job_key']!r} and is not done, but reads other "
            f"rows or otherwise ({job.source}); end it as it began, or stop it: "
            f"producer cancel {job.id}"
        )


def _was_left(job: JobRecord) -> bool:
    """Whether a running job has no producer, as far as can be told without waiting."""
    return job.producer_lease_until is None or (job.producer is not None and is_gone(job.producer))


def _take_over(store: Store, job: JobRecord, say: Callable[[str], None]) -> Production | None:
    """Wait until the job's producer renews its lease, which refuses us, or loses it."""
    dead = job.producer if job.producer and is_gone(job.producer) else None
    deadline = time.monotonic() + LEASE_SECONDS + 1
    told = False
    while time.monotonic() < deadline:
        production = take_over(store, job.id, producer_name(), dead=dead)
        if production is not None:
            return production
        now = get_job(store, job.id)
        if now.state != "running":
            return None
        if now.producer != job.producer or now.producer_lease_until != job.producer_lease_until:
            raise UsageError(
                f"job {job.id} is being read by producer {now.producer}; wait for it "
                f"(producer status {job.id}), or stop it: producer cancel {job.id}"
            )
        if not told:
            told = True
            say(f"job {job.id} belongs to producer {job.producer}; looking whether it lives")
        time.sleep(0.25)
    return None
