"""How many rows ended in a table lately, moment by moment."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import Connection, func, select

from db.clock import db_now
from db.schema import Chunk, Job
from db.store import Store

#: Seconds that are looked back, and of each point.
LOOK_BACK_SECONDS, POINT_SECONDS = 600, 10

#: Jobs that may be running, and newest jobs that may have ended meanwhile, whose chunks are looked at:
#: there is no index on when a job ended, and none on when any chunk was done.
MOST_JOBS = 500

#: Seconds for which a point is asked for again: what was closed in it may be committed a little later.
_LATE_SECONDS = 20


@dataclass(frozen=True)
class Throughput:
    """Rows a second of each point, the oldest first; the last one is over."""

    ended_at: datetime
    rows_per_second: tuple[float, ...]


class ThroughputLine:
    """Counts the rows of all jobs by the time of their chunk; what is over is asked for once.

    The jobs are the 500 newest of those that run, those that ran at an earlier look, and those of the
    500 newest that ended since. What is not seen: a job that ended before the first look, or began and
    ended between two looks, while 500 others began.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        #: Rows by the beginning of their point, in seconds since 1970.
        self._rows: Counter[int] = Counter()
        #: The beginning of the first point that is not over for good.
        self._known_to = 0
        #: Jobs that ran at a look; the time of the first look at which they did not, if there was one.
        self._ran: dict[int, datetime | None] = {}

    def now(self) -> Throughput:
        """Return the last ten minutes."""
        with self._lock:
            with self._store.read() as connection:
                now = connection.execute(select(db_now())).scalar_one()
            # By the clock: what a point says does not change while it is looked at.
            end = int(now.timestamp()) // POINT_SECONDS * POINT_SECONDS
            first = end - LOOK_BACK_SECONDS
            self._ask(now, datetime.fromtimestamp(max(self._known_to, first), UTC))
            self._known_to = end - _LATE_SECONDS
            for at in [at for at in self._rows if at < first]:
                del self._rows[at]
            points = range(first, end, POINT_SECONDS)
            rates = tuple(self._rows[at] / POINT_SECONDS for at in points)
        return Throughput(datetime.fromtimestamp(end, UTC), rates)

    def _ask(self, now: datetime, since: datetime) -> None:
        found: Counter[int] = Counter()
        with self._store.read() as connection:
            # By job, so that the index on (job, done_at) serves.
            query = (
                select(
                    Chunk.done_at,
                    func.sum(Chunk.labeled + Chunk.rejected_parsed + Chunk.rejected_worker),
                )
                .where(Chunk.job_id.in_(self._jobs(connection, now, since)), Chunk.done_at >= since)
                .group_by(Chunk.done_at)
            )
            for at, rows in connection.execute(query):
                assert at is not None, "asked for by its time"  # noqa: S101
                found[int(at.timestamp()) // POINT_SECONDS * POINT_SECONDS] += int(rows)
        for known in [point for point in self._rows if point >= since.timestamp()]:
            del self._rows[known]
        self._rows.update(found)

    def _jobs(self, connection: Connection, now: datetime, since: datetime) -> list[int]:
        """Return the jobs of which chunks may have been done since."""
        newest_running = (
            select(Job.id).where(Job.state == "running").order_by(Job.id.desc()).limit(MOST_JOBS)
        )
        newest = select(Job.id, Job.finished_at).order_by(Job.id.desc()).limit(MOST_JOBS).subquery()
        # In this order: what ends between the two is in both.
        running = set(connection.scalars(newest_running))
        ended = set(connection.scalars(select(newest.c.id).where(newest.c.finished_at >= since)))
        for job in running:
            self._ran[job] = None
        for job, over in list(self._ran.items()):
            if job in running:
                continue
            if over is None:
                self._ran[job] = now
            elif over < since:
                del self._ran[job]
        return sorted(running | ended | set(self._ran))
