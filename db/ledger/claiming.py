"""A worker's hold on a chunk: claiming it, renewing the lease, handing it back."""

import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, exists, select, update

from db.clock import db_now
from db.defaults import LEASE_SECONDS
from db.schema import Chunk, Job, table_of
from db.store import Store


@dataclass(frozen=True)
class JobFacts:
    """What a worker needs to know of a job; none of it ever changes but `state`."""

    id: int
    state: str
    model_ref: str
    id_scope: str
    store_text: bool


@dataclass(frozen=True)
class Claim:
    """A chunk that one thread of one worker holds under a token."""

    job: JobFacts
    number: int
    token: str
    payload: bytes
    alone: bool


@dataclass(frozen=True)
class ChunkState:
    """How a chunk stands when its message arrives."""

    job: JobFacts
    state: str
    suspect: bool


_JOBS = table_of(Job)
_CHUNKS = table_of(Chunk)

_LOOK = (
    select(
        _JOBS.c.id,
        _JOBS.c.state.label("job_state"),
        _JOBS.c.model_ref,
        _JOBS.c.id_scope,
        _JOBS.c.store_text,
        _CHUNKS.c.state,
        _CHUNKS.c.suspect,
    )
    .join_from(_JOBS, _CHUNKS, _CHUNKS.c.job_id == _JOBS.c.id)
    .where(_JOBS.c.id == bindparam("of_job"), _CHUNKS.c.number == bindparam("of_number"))
)


def is_in_state(state: str) -> ColumnElement[bool]:
    """Say that a chunk which is found by its key is in `state`.

    Put so that PostgreSQL does not look for it by the state: it would, in a table of which it knows
    nothing yet, and read all open chunks of the job to find one.
    """
    return _CHUNKS.c.state.concat("") == state


_CLAIM = (
    update(_CHUNKS)
    .where(
        _CHUNKS.c.job_id == bindparam("of_job"),
        _CHUNKS.c.number == bindparam("of_number"),
        is_in_state("queued"),
        _CHUNKS.c.suspect == bindparam("alone"),
        exists().where(_JOBS.c.id == bindparam("of_job"), _JOBS.c.state == "running"),
    )
    .values(
        state="leased",
        lease_token=bindparam("token"),
        lease_until=db_now(LEASE_SECONDS),
        claims=_CHUNKS.c.claims + 1,
        claimed_at=db_now(),
        claimed_alone=bindparam("alone"),
        worker=bindparam("by_worker"),
    )
    .returning(_CHUNKS.c.payload)
)


def look_at(store: Store, job_id: int, number: int) -> ChunkState | None:
    """Return the job's facts and the chunk's state; None if there is no such chunk."""
    with store.read() as connection:
        row = connection.execute(_LOOK, {"of_job": job_id, "of_number": number}).first()
    if row is None:
        return None
    facts = JobFacts(row.id, row.job_state, row.model_ref, row.id_scope, row.store_text)
    return ChunkState(facts, row.state, row.suspect)


def claim(
    store: Store, job: JobFacts, number: int, worker: str, *, alone: bool = False
) -> Claim | None:
    """Take a queued chunk of a running job under a new token and a lease.

    A suspect chunk is taken only with `alone`, which the caller may say while its process holds
    no other chunk. Returns None if the chunk is not to be had: its message is then dropped.
    """
    token = secrets.token_hex(16)
    with store.write() as connection:
        payload = connection.scalar(
            _CLAIM,
            {
                "of_job": job.id,
                "of_number": number,
                "token": token,
                "alone": alone,
                "by_worker": worker,
            },
        )
    return None if payload is None else Claim(job, number, token, payload, alone)


def renew(store: Store, held: Claim) -> bool:
    """Hold the chunk for another lease; False if the lease was lost meanwhile."""
    with store.write() as connection:
        return bool(
            connection.execute(
                update(Chunk).where(*_held(held)).values(lease_until=db_now(LEASE_SECONDS))
            ).rowcount
        )


def hand_back(store: Store, held: Claim, error: str | None = None) -> bool:
    """Put the chunk back into the queue, under no suspicion; the sweeper sends it again.

    `error` names the kind of what went wrong, never a row's text.
    """
    with store.write() as connection:
        return bool(
            connection.execute(
                update(Chunk)
                .where(*_held(held))
                .values(
                    state="queued",
                    lease_token=None,
                    lease_until=None,
                    claimed_at=None,
                    sent_at=None,
                    last_error=error,
                )
            ).rowcount
        )


def fail_job(store: Store, job_id: int, reason: str) -> bool:
    """Fail a running job for a reason that no retry will mend; False if it runs no longer."""
    with store.write() as connection:
        return bool(
            connection.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == "running")
                .values(state="failed", error=reason, finished_at=db_now(), producer_token=None)
            ).rowcount
        )


def _held(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        Chunk.job_id == held.job.id,
        Chunk.number == held.number,
        is_in_state("leased"),
        Chunk.lease_token == held.token,
    )
