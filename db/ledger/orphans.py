"""Streams whose producer is gone, and with which no other can go on: their jobs come to an end."""

import logging

from sqlalchemy import and_, case, or_, select, update

from db.clock import db_now
from db.defaults import PIPE_PATIENCE_SECONDS
from db.schema import Job
from db.store import Store

log = logging.getLogger(__name__)

#: Why the job of a pipe fails. What other streams had not entered is delivered to another producer.
PIPE_LOST = (
    "its producer went away; what it had not entered must be sent again, and this job has the rest"
)


def end_orphans(store: Store) -> list[int]:
    """Mark such jobs as exhausted and void their producers' tokens; return their numbers.

    From this commit on, a producer that is still there after all enters nothing more, removes no
    note of an entry, and others may take what it held. The job ends when its chunks are closed.
    """
    pipe = Job.stream == "stdin"
    gone = or_(
        # Let go of by a producer that left before its source was exhausted.
        Job.producer_lease_until.is_(None),
        Job.producer_lease_until < db_now(-PIPE_PATIENCE_SECONDS),
        and_(~pipe, Job.producer_lease_until < db_now()),
    )
    orphans = (
        select(Job.id)
        .where(
            Job.state == "running",
            Job.source_exhausted.is_(False),
            Job.continues.is_(False),
            gone,
        )
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
                source_error=case((pipe, PIPE_LOST), else_=None),
            )
            .returning(Job.id, Job.producer)
        ).all()
    for row in ended:
        log.warning("job %s has lost its producer %s; its rows are kept", row.id, row.producer)
    return [row.id for row in ended]
