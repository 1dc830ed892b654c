"""What a job amounts to: always sums over its chunks, never counters that a crash could bend."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

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
    rejected = Chunk.rejected_parsed + Chunk.rejected_worker
    query = (
        select(
            Chunk.model_version,
            Chunk.engine,
            func.coalesce(func.sum(Chunk.row_count).filter(Chunk.parent_number.is_(None)), 0),
            func.coalesce(func.sum(Chunk.labeled), 0),
            func.coalesce(func.sum(rejected), 0),
            func.count().filter(Chunk.state.in_(OPEN_STATES)),
            func.coalesce(func.sum(Chunk.tokens), 0),
            func.coalesce(func.sum(Chunk.busy_seconds), 0.0),
            func.max(Chunk.done_at),
        )
        .where(Chunk.job_id == job_id)
        .group_by(Chunk.model_version, Chunk.engine)
    )
    versions: dict[str, int] = {}
    engines: dict[str, int] = {}
    counts = [0, 0, 0, 0, 0]
    busy = 0.0
    last: datetime | None = None
    with store.read() as connection:
        for group in connection.execute(query):
            version, engine, seconds, done_at = group[0], group[1], group[7], group[8]
            sums = [int(value or 0) for value in group[2:7]]
            counts = [count + more for count, more in zip(counts, sums, strict=True)]
            busy += float(seconds or 0.0)
            labeled = sums[1]
            if version is not None and labeled:
                versions[str(version)] = versions.get(str(version), 0) + labeled
            if engine is not None:
                engines[engine] = engines.get(engine, 0) + labeled
            if done_at is not None and (last is None or done_at > last):
                last = done_at
    rows, labeled, rejects, open_chunks, tokens = counts
    return JobTotals(
        rows,
        labeled,
        rejects,
        open_chunks,
        dict(sorted(versions.items(), key=lambda item: int(item[0]))),
        tuple(sorted(engines, key=lambda name: -engines[name])),
        tokens,
        busy,
        last,
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
