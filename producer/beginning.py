"""Beginning a job: a new one, one to continue, or one that is done already."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from db.defaults import LEASE_SECONDS
from db.errors import UsageError
from db.ledger.jobs import (
    AlreadyRunning,
    JobRecord,
    NewJob,
    Production,
    create_job,
    find_job,
    get_job,
    take_over,
)
from db.store import Store


@dataclass(frozen=True)
class Beginning:
    """The job that a call works on; without `production` there is nothing to do."""

    job: JobRecord
    production: Production | None
    continued: bool = False


def producer_name() -> str:
    """Return what names this process in the ledger: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def begin_job(store: Store, new: NewJob, *, again: bool, say: Callable[[str], None]) -> Beginning:
    """Return the job for `new`: one that exists under its identity, or else a fresh one.

    A running job whose producer is gone is taken over; to tell a dead producer from a living one
    may take as long as a lease. Raises `UsageError`, naming the job and its producer, when it
    lives.
    """
    while True:
        job = find_job(store, new.identity)
        if job is not None and job.state == "running":
            if again:
                raise UsageError(
                    f"job {job.id} is running on the same rows, so --again must wait; "
                    f"see: producer status {job.id}, or stop it: producer cancel {job.id}"
                )
            production = _take_over(store, job, say)
            if production is not None:
                return Beginning(get_job(store, job.id), production, continued=True)
            continue
        if job is not None and job.state == "done" and not again:
            return Beginning(job, None)
        try:
            production = create_job(store, new, producer_name())
        except AlreadyRunning:
            continue
        return Beginning(get_job(store, production.job), production)


def _take_over(store: Store, job: JobRecord, say: Callable[[str], None]) -> Production | None:
    """Wait until the job's producer renews its lease, which refuses us, or loses it."""
    dead = job.producer if job.producer and _is_gone(job.producer) else None
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


def _is_gone(producer: str) -> bool:
    host, _, process = producer.rpartition(":")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
