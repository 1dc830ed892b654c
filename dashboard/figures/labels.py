"""The labels of a job: how many of each, how sure, and how that went over time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Connection, exists, func, select

from db.schema import Chunk, Job, LabeledText
from db.store import Store

#: Bins of equal width over the confidence.
CONFIDENCE_BINS = 20

#: Jobs whose figures are kept; the one that was looked at least lately leaves.
_KEPT_JOBS = 200

#: For how long figures of a job that may still change are shown again: so many times what counting
#: them took.
_REUSED_TIMES = 10

#: Windows of rows that are looked at for the labels over time, and rows of each: with fewer rows than
#: that, all of them.
_WINDOWS, _WINDOW_ROWS = 100, 250

#: Points of the labels over time, at most; with so few chunks that many points would have none, a
#: point for each two of them.
_POINTS, _POINT_CHUNKS = 50, 2


@dataclass(frozen=True)
class LabelFigures:
    """How many rows of a job have which label and which confidence."""

    #: Rows of each label, most first.
    mix: Mapping[str, int]
    #: Rows by confidence, a number a bin.
    confidence: Sequence[int]

    @property
    def rows(self) -> int:
        """The labelled rows."""
        return sum(self.mix.values())


@dataclass(frozen=True)
class LabelsOverTime:
    """The share of each label at each point of time, from a sample of the job's rows."""

    #: The middle of each point's stretch of time.
    times: Sequence[datetime]
    #: The length of a point's stretch; 0 where all rows are of one moment.
    step: timedelta
    #: By label, a number a point; those of a point add up to 1.
    shares: Mapping[str, Sequence[float]]
    #: Points before which the job stood still: no row was labelled between them and the one before.
    after_gap: frozenset[int]
    sampled_rows: int


@dataclass(frozen=True)
class JobLabels:
    """Everything that the pictures of a job's labels show."""

    figures: LabelFigures
    over_time: LabelsOverTime | None


#: Of a job that was purged: what was counted before is not shown any more.
_NOTHING = JobLabels(LabelFigures({}, (0,) * CONFIDENCE_BINS), None)


@dataclass
class _Kept:
    """What was counted of one job."""

    #: Whoever asks meanwhile waits for those who count, and counts no second time.
    lock: Lock = field(default_factory=Lock)
    labels: JobLabels | None = None
    state: str = ""
    #: Until then, by the cache's clock, they are shown again.
    until: float = 0.0


class LabelCounts:
    """Counts the labels of jobs: those of a job that is done once, of others not without a pause."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def of(self, job_id: int) -> JobLabels:
        """Return the labels of a job, now or of a moment ago; none of one that was purged."""
        kept = self._of_job(job_id)
        with kept.lock:
            with self._store.read() as connection:
                state = connection.scalar(select(Job.state).where(Job.id == job_id))
            if state == "purged":
                kept.labels = None
                return _NOTHING
            still_true = state == "done" or self._clock() < kept.until
            if kept.labels is not None and kept.state == state and still_true:
                return kept.labels
            began = self._clock()
            found = JobLabels(
                label_figures(self._store, job_id), labels_over_time(self._store, job_id)
            )
            ended = self._clock()
            kept.labels, kept.state = found, state or ""
            kept.until = ended + _REUSED_TIMES * (ended - began)
            return found

    def _of_job(self, job_id: int) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(job_id, _Kept())
            self._kept.move_to_end(job_id)
            while len(self._kept) > _KEPT_JOBS:
                self._kept.popitem(last=False)
        return kept


def label_figures(store: Store, job_id: int) -> LabelFigures:
    """Count a job's labels by confidence, from an index alone: a stretch of it is a bin."""
    mix: dict[str, int] = {}
    confidence = []
    with store.read() as connection:
        for place in range(CONFIDENCE_BINS):
            query = (
                select(LabeledText.label, func.count())
                .where(LabeledText.job_id == job_id)
                .group_by(LabeledText.label)
            )
            if place:
                query = query.where(LabeledText.confidence >= place / CONFIDENCE_BINS)
            if place < CONFIDENCE_BINS - 1:
                query = query.where(LabeledText.confidence < (place + 1) / CONFIDENCE_BINS)
            counts = {label: int(rows) for label, rows in connection.execute(query)}
            for label, rows in counts.items():
                mix[label] = mix.get(label, 0) + rows
            confidence.append(sum(counts.values()))
    return LabelFigures(
        dict(sorted(mix.items(), key=lambda item: (-item[1], item[0]))), tuple(confidence)
    )


def labels_over_time(store: Store, job_id: int) -> LabelsOverTime | None:
    """Return the label mix of a job over the time of its labelling; None if no row looked at has a label.

    Of a large job 100 windows of 250 rows each are looked at, evenly over its row numbers: what that
    takes does not grow with the job.
    """
    mine = LabeledText.job_id == job_id
    found: list[tuple[datetime, str, int]] = []
    with store.read() as connection:
        last = connection.scalar(select(func.max(LabeledText.row_number)).where(mine))
        if last is None:
            return None
        for start in _window_starts(last):
            query = (
                select(LabeledText.labeled_at, LabeledText.label, func.count())
                .where(
                    mine,
                    LabeledText.row_number >= start,
                    LabeledText.row_number < start + _WINDOW_ROWS,
                )
                .group_by(LabeledText.labeled_at, LabeledText.label)
            )
            found += [(at, label, int(count)) for at, label, count in connection.execute(query)]
        return _by_time(connection, job_id, found) if found else None


def _window_starts(last: int) -> Sequence[int]:
    windows = -(-last // _WINDOW_ROWS)
    if windows <= _WINDOWS:
        return range(1, last + 1, _WINDOW_ROWS)
    return [1 + windows * place // _WINDOWS * _WINDOW_ROWS for place in range(_WINDOWS)]


def _by_time(
    connection: Connection, job_id: int, found: Sequence[tuple[datetime, str, int]]
) -> LabelsOverTime:
    times = {at for at, _, _ in found}
    first, last = min(times), max(times)
    points = max(min(len(times) // _POINT_CHUNKS, _POINTS), 1)
    step = (last - first) / points
    counts: dict[int, dict[str, int]] = {}
    for at, label, count in found:
        place = min(int((at - first) / step), points - 1) if step else 0
        of_place = counts.setdefault(place, {})
        of_place[label] = of_place.get(label, 0) + count
    totals: dict[str, int] = {}
    for each in counts.values():
        for label, count in each.items():
            totals[label] = totals.get(label, 0) + count
    places = sorted(counts)
    # Of a stretch without a row that was looked at, the chunks tell whether it had any.
    empty = {
        place
        for place in set(range(places[-1])).difference(places)
        if not _any_done(connection, job_id, first + step * place, first + step * (place + 1))
    }
    return LabelsOverTime(
        [first + step * (place + 0.5) for place in places],
        step,
        {
            label: [counts[place].get(label, 0) / sum(counts[place].values()) for place in places]
            for label in sorted(totals, key=lambda name: (-totals[name], name))
        },
        frozenset(
            number
            for number, place in enumerate(places)
            if number and not empty.isdisjoint(range(places[number - 1] + 1, place))
        ),
        sum(count for _, _, count in found),
    )


def _any_done(connection: Connection, job_id: int, since: datetime, until: datetime) -> bool:
    """Whether a chunk with labelled rows was closed in a stretch of time."""
    done = exists().where(
        Chunk.job_id == job_id, Chunk.done_at >= since, Chunk.done_at < until, Chunk.labeled > 0
    )
    return bool(connection.scalar(select(done)))
