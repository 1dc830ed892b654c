"""Streams whose producer is gone, and with which no other can go on: their jobs come to an end."""

import logging

from sqlalchemy import and_, case, or_, select, update

from db.clock import db_now
from db.defaults import PIPE_PATIENCE_SECONDS
from db.processes import is_gone
from db.schema import Job
from db.store import Store

log = logging.getLogger(__name__)

#: Why the job of a pipe fails. What other streams had not entered is delivered to another producer.
PIPE_LOST = (
    "its producer went away; what it had not entered must be sent again, and this job has the rest"
)

_PIPE = Job.stream == "stdin"

#: Whether nobody holds a job: it was let go of before its source was exhausted, or the lease is over.
_UNHELD = or_(
    Job.producer_lease_until.is_(None),
    Job.producer_lease_until < db_now(-PIPE_PATIENCE_SECONDS),
    and_(~_PIPE, Job.producer_lease_until < db_now()),
)


def end_orphans(store: Store) -> list[int]:
    """Mark such jobs as exhausted and void their producers' tokens; return their numbers.

    A producer is gone when its lease has run out, or at once where it let go of its job, and where
    it is a process of this machine that is certain to run no more. From this commit on, one that is
    still there after all enters nothing more, removes no note of an entry, and others may take what
    it held. The job ends when its chunks are closed.
    """
    open_ended = (
        Job.state == "running",
        Job.source_exhausted.is_(False),
        Job.continues.is_(False),
    )
    with store.read() as connection:
        producers = connection.execute(
            select(Job.producer, _UNHELD.label("unheld")).where(*open_ended)
        ).all()
    gone = [row.producer for row in producers if row.producer and is_gone(row.producer)]
    if not gone and not any(row.unheld for row in producers):
        return []
    orphans = (
        select(Job.id)
        .where(*open_ended, or_(_UNHELD, Job.producer.in_(gone)))
        # One whose producer is in the middle of a step at this moment is left for the next sweep.
        .with_for_update(key_share=True, skip_locked=True)
    )
    with store.write() as connection:
        ended = connection.execute(
            update(Job)
            .where(Job.id.in_(orphans))
            .values(
                producer_token=None,
                source_exhausted=True,
                source_error=case((_PIPE, PIPE_LOST), else_=None),
            )
            .returning(Job.id, Job.producer)
        ).all()
    for row in ended:
        log.warning("job %s has lost its producer %s; its rows are kept", row.id, row.producer)
    return [row.id for row in ended]
