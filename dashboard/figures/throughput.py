"""How many rows ended in a table lately, moment by moment."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import func, or_, select

from db.clock import db_now
from db.schema import Chunk, Job
from db.store import Store

#: Seconds that are looked back, and of each point.
LOOK_BACK_SECONDS, POINT_SECONDS = 600, 10

#: Seconds for which a point is asked for again: what was closed in it may be committed a little later.
_LATE_SECONDS = 20


@dataclass(frozen=True)
class Throughput:
    """Rows a second of each point, the oldest first; the last one is over."""

    ended_at: datetime
    rows_per_second: tuple[float, ...]


class ThroughputLine:
    """Counts the rows of all jobs by the time of their chunk; what is over is asked for once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        #: Rows by the beginning of their point, in seconds since 1970.
        self._rows: Counter[int] = Counter()
        #: The beginning of the first point that is not over for good.
        self._known_to = 0

    def now(self) -> Throughput:
        """Return the last ten minutes."""
        with self._lock:
            with self._store.read() as connection:
                now = connection.execute(select(db_now())).scalar_one()
            # By the clock: what a point says does not change while it is looked at.
            end = int(now.timestamp()) // POINT_SECONDS * POINT_SECONDS
            first = end - LOOK_BACK_SECONDS
            self._ask(datetime.fromtimestamp(max(self._known_to, first), UTC))
            self._known_to = end - _LATE_SECONDS
            for at in [at for at in self._rows if at < first]:
                del self._rows[at]
            points = range(first, end, POINT_SECONDS)
            rates = tuple(self._rows[at] / POINT_SECONDS for at in points)
        return Throughput(datetime.fromtimestamp(end, UTC), rates)

    def _ask(self, since: datetime) -> None:
        # By job, so that the index on (job, done_at) serves.
        lately = select(Job.id).where(or_(Job.state == "running", Job.finished_at >= since))
        query = (
            select(
                Chunk.done_at,
                func.sum(Chunk.labeled + Chunk.rejected_parsed + Chunk.rejected_worker),
            )
            .where(Chunk.job_id.in_(lately), Chunk.done_at >= since)
            .group_by(Chunk.done_at)
        )
        found: Counter[int] = Counter()
        with self._store.read() as connection:
            for at, rows in connection.execute(query):
                assert at is not None, "asked for by its time"  # noqa: S101
                found[int(at.timestamp()) // POINT_SECONDS * POINT_SECONDS] += int(rows)
        for known in [point for point in self._rows if point >= since.timestamp()]:
            del self._rows[known]
        self._rows.update(found)
