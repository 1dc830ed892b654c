"""What a job amounts to: always sums over its chunks, never counters that a crash could bend."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select

from db.ledger.ending import OPEN_STATES
from db.schema import Chunk, LabeledText, Reject
from db.store import Store


@dataclass(frozen=True)
class JobTotals:
    """The counts of one job now."""

    #: Rows read: labelled, rejected, or on their way.
    rows: int
    labeled: int
    rejected: int
    open_chunks: int
    #: Rows labelled by each version, as `{"1": 1996}`.
    model_versions: Mapping[str, int]
    #: The engines that labelled, most rows first.
    engines: tuple[str, ...]
    tokens: int
    #: Seconds that engines computed for it, added up over all workers.
    busy_seconds: float
    #: Commit of the newest chunk; None before the first.
    last_done_at: datetime | None

    @property
    def waiting(self) -> int:
        """Rows that are in the ledger but in neither table yet."""
        return self.rows - self.labeled - self.rejected


def job_totals(store: Store, job_id: int) -> JobTotals:
    """Return the counts of a job, all of one moment."""
    with store.read() as connection:
        return _totals(_sums(connection, Chunk.job_id == job_id))


class GrowingTotals:
    """The counts of a job that are looked at again and again, as long as it may last.

    What is closed for good, up to a number that grows, is counted once: a look costs what the chunks
    after it cost, not what the job has had.
    """

    def __init__(self, store: Store, job_id: int) -> None:
        self._store = store
        self._job = job_id
        self._closed: _Sums = {}
        self._up_to = 0

    def now(self) -> JobTotals:
        """Return the counts of this moment."""
        mine = Chunk.job_id == self._job
        # The sum keeps SQLite from walking over all closed chunks in order to find the least number.
        first_open = select(func.min(Chunk.number + 0)).where(mine, Chunk.state.in_(OPEN_STATES))
        last = select(func.max(Chunk.number)).where(mine)
        with self._store.read() as connection:
            # In one statement: a chunk that is entered meanwhile has a higher number than all here.
            opened, newest = connection.execute(
                select(first_open.scalar_subquery(), last.scalar_subquery())
            ).one()
            up_to = (newest or 0) if opened is None else opened - 1
            if up_to > self._up_to:
                between = mine, Chunk.number > self._up_to, Chunk.number <= up_to
                self._closed = _added(self._closed, _sums(connection, *between))
                self._up_to = up_to
            rest = _sums(connection, mine, Chunk.number > self._up_to)
        return _totals(_added(self._closed, rest))


@dataclass(frozen=True)
class _Sum:
    """Sums over the chunks that one version labelled with one engine."""

    rows: int
    labeled: int
    rejected: int
    open_chunks: int
    tokens: int
    busy_seconds: float
    last_done_at: datetime | None

    def __add__(self, other: "_Sum") -> "_Sum":
        ends = [end for end in (self.last_done_at, other.last_done_at) if end is not None]
        return _Sum(
            self.rows + other.rows,
            self.labeled + other.labeled,
            self.rejected + other.rejected,
            self.open_chunks + other.open_chunks,
            self.tokens + other.tokens,
            self.busy_seconds + other.busy_seconds,
            max(ends, default=None),
        )


_NOTHING = _Sum(0, 0, 0, 0, 0, 0.0, None)

#: By version and engine; both None for what no worker has closed.
_Sums = dict[tuple[int | None, str | None], _Sum]


def _sums(connection: Connection, *which: ColumnElement[bool]) -> _Sums:
    query = (
        select(
            Chunk.model_version,
            Chunk.engine,
            func.coalesce(func.sum(Chunk.row_count).filter(Chunk.parent_number.is_(None)), 0),
            func.coalesce(func.sum(Chunk.labeled), 0),
            func.coalesce(func.sum(Chunk.rejected_parsed + Chunk.rejected_worker), 0),
            func.count().filter(Chunk.state.in_(OPEN_STATES)),
            func.coalesce(func.sum(Chunk.tokens), 0),
            func.coalesce(func.sum(Chunk.busy_seconds), 0.0),
            func.max(Chunk.done_at),
        )
        .where(*which)
        .group_by(Chunk.model_version, Chunk.engine)
    )
    sums: _Sums = {}
    for row in connection.execute(query):
        rows, labeled, rejected, opened, tokens = (int(value or 0) for value in row[2:7])
        busy = float(row[7] or 0.0)
        sums[row[0], row[1]] = _Sum(rows, labeled, rejected, opened, tokens, busy, row[8])
    return sums


def _added(one: _Sums, other: _Sums) -> _Sums:
    return {key: one.get(key, _NOTHING) + other.get(key, _NOTHING) for key in {**one, **other}}


def _totals(sums: _Sums) -> JobTotals:
    versions: dict[int, int] = {}
    engines: dict[str, int] = {}
    whole = _NOTHING
    for (version, engine), part in sums.items():
        whole += part
        if version is not None and part.labeled:
            versions[version] = versions.get(version, 0) + part.labeled
        if engine is not None:
            engines[engine] = engines.get(engine, 0) + part.labeled
    return JobTotals(
        whole.rows,
        whole.labeled,
        whole.rejected,
        whole.open_chunks,
        {str(version): versions[version] for version in sorted(versions)},
        tuple(sorted(engines, key=lambda name: -engines[name])),
        whole.tokens,
        whole.busy_seconds,
        whole.last_done_at,
    )


def label_mix(store: Store, job_id: int) -> dict[str, int]:
    """Return how many rows of a job have each label, most first."""
    query = (
        select(LabeledText.label, func.count())
        .where(LabeledText.job_id == job_id)
        .group_by(LabeledText.label)
        .order_by(func.count().desc(), LabeledText.label)
    )
    with store.read() as connection:
        return {label: int(count) for label, count in connection.execute(query)}


def reject_reasons(store: Store, job_id: int) -> dict[str, int]:
    """Return how many rows of a job were rejected for each reason, most first."""
    query = (
        select(Reject.reason, func.count())
        .where(Reject.job_id == job_id)
        .group_by(Reject.reason)
        .order_by(func.count().desc(), Reject.reason)
    )
    with store.read() as connection:
        return {reason: int(count) for reason, count in connection.execute(query)}


def truncated_rows(store: Store, job_id: int) -> int:
    """Return how many labelled rows of a job were longer than the model reads."""
    query = select(func.count()).where(
        LabeledText.job_id == job_id, LabeledText.truncated.is_(True)
    )
    with store.read() as connection:
        return connection.execute(query).scalar_one()
