"""Jobs: making one, finding it again by its identity, and who produces it."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, false, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from db.clock import db_now
from db.defaults import LARGEST_NUMBER, LEASE_SECONDS, SCOPE_CHARACTERS
from db.errors import UsageError
from db.schema import Job, LedgerIdentity
from db.store import Store


@dataclass(frozen=True)
class NewJob:
    """What a job is before it has a number."""

    #: As people may see it: passwords hidden.
    source: str
    identity: str
    source_identity: str
    id_scope: str
    options: Mapping[str, Any]
    model: str
    model_ref: str
    queue: str
    position: Mapping[str, Any]
    store_text: bool = True
    hidden: bool = False
    parent_job: int | None = None
    #: How it is read where its source has no end: stdin, follow, redis or task.
    stream: str | None = None
    #: Whether another producer can go on where this one stopped.
    continues: bool = True


@dataclass(frozen=True)
class JobRecord(NewJob):
    """A job as it stands in the ledger."""

    id: int = 0
    state: str = "running"
    producer: str | None = None
    producer_lease_until: datetime | None = None
    source_exhausted: bool = False
    source_error: str | None = None
    error: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Production:
    """The right to add chunks to a job, until its token is voided."""

    job: int
    token: str


class AlreadyRunning(Exception):
    """A running job with this identity exists: somebody was faster."""


def ledger_id(store: Store) -> str:
    """Return what tells this ledger from any other."""
    with store.read() as connection:
        return connection.execute(select(LedgerIdentity.id)).scalar_one()


def create_job(store: Store, new: NewJob, producer: str) -> Production:
    """Make a running job that `producer` may add chunks to.

    Raises `AlreadyRunning` if one with the same identity runs, and `UsageError` if the parent, whose
    texts it reads, was purged meanwhile.
    """
    token = secrets.token_hex(16)
    values: dict[str, Any] = {name: getattr(new, name) for name in NewJob.__dataclass_fields__}
    values["options"] = dict(new.options)
    values["position"] = dict(new.position)
    values["id_scope"] = short_scope(new.id_scope)
    try:
        with store.write() as connection:
            if new.parent_job is not None:
                _keep_from_purge(connection, new.parent_job)
            job_id = connection.scalar(
                insert(Job)
                .values(
                    **values,
                    state="running",
                    producer=producer,
                    producer_token=token,
                    producer_lease_until=db_now(LEASE_SECONDS),
                )
                .returning(Job.id)
            )
    except IntegrityError:
        raise AlreadyRunning from None
    assert job_id is not None  # noqa: S101
    return Production(job_id, token)


def short_scope(scope: str) -> str:
    """Return `scope`, its end replaced by a hash where it is longer than an index can hold."""
    if len(scope) <= SCOPE_CHARACTERS:
        return scope
    digest = hashlib.blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{scope[: SCOPE_CHARACTERS - len(digest) - 2]}… {digest}"


def _keep_from_purge(connection: Connection, parent: int) -> None:
    # A purge locks the job that it empties, and looks for readers after that.
    state = connection.scalar(select(Job.state).where(Job.id == parent).with_for_update(read=True))
    if state == "purged":
        raise UsageError(f"job {parent} was purged: its texts are gone")


def take_over(
    store: Store, job_id: int, producer: str, *, dead: str | None = None
) -> Production | None:
    """Void the token of a producer that gave no sign in time, and return the right to go on.

    A producer whose process is known to be gone may be named as `dead`: its lease is not waited
    for. None while the producer lives, or when the job has ended.
    """
    token = secrets.token_hex(16)
    with store.write() as connection:
        taken = connection.execute(
            update(Job)
            .where(
                Job.id == job_id,
                Job.state == "running",
                or_(
                    Job.producer_lease_until.is_(None),
                    Job.producer_lease_until < db_now(),
                    Job.producer == dead if dead is not None else false(),
                ),
            )
            .values(
                producer=producer,
                producer_token=token,
                producer_lease_until=db_now(LEASE_SECONDS),
            )
        ).rowcount
    return Production(job_id, token) if taken else None


def supersede(store: Store, production: Production) -> None:
    """Let a job end with the rows that it has, and give its identity free for a new one."""
    with store.write() as connection:
        connection.execute(
            update(Job)
            .where(
                Job.id == production.job,
                Job.producer_token == production.token,
                Job.state == "running",
            )
            .values(
                identity=Job.identity + f" of job {production.job}",
                source_exhausted=True,
                producer_token=None,
                producer_lease_until=None,
            )
        )


def find_job(store: Store, identity: str) -> JobRecord | None:
    """Return the job that answers for `identity`: the running one, else the newest."""
    running_first = case((Job.state == "running", 0), else_=1)
    query = (
        select(Job.__table__)
        .where(Job.identity == identity, Job.hidden.is_(False))
        .order_by(running_first, Job.id.desc())
        .limit(1)
    )
    with store.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _record(row)


def get_job(store: Store, job_id: int) -> JobRecord:
    """Return the job with this number.

    Raises `UsageError` if there is none.
    """
    row = None
    if job_id <= LARGEST_NUMBER:
        with store.read() as connection:
            row = connection.execute(select(Job.__table__).where(Job.id == job_id)).first()
    if row is None:
        raise UsageError(f"there is no job {job_id} in {store.name}; see: producer status")
    return _record(row)


def list_jobs(store: Store, limit: int) -> list[JobRecord]:
    """Return the newest jobs, newest first, without those of dry runs."""
    query = select(Job.__table__).where(Job.hidden.is_(False)).order_by(Job.id.desc()).limit(limit)
    with store.read() as connection:
        return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> JobRecord:
    values = row._mapping
    return JobRecord(**{name: values[name] for name in JobRecord.__dataclass_fields__})
