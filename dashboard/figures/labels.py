"""The labels of a job: how many of each, how sure, and how that went over time."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from sqlalchemy import func, select

from db.schema import Job, LabeledText
from db.store import Store

#: Bins of equal width over the confidence.
CONFIDENCE_BINS = 20

#: Jobs whose figures are kept: of one that has ended they do not change.
_KEPT_JOBS = 200

#: Windows of rows that are looked at for the labels over time, and rows of each: with fewer rows than
#: that, all of them.
_WINDOWS, _WINDOW_ROWS = 100, 250

#: Points of the labels over time.
_POINTS = 50


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

    times: Sequence[datetime]
    #: By label, a number a point; those of a point add up to 1.
    shares: Mapping[str, Sequence[float]]
    sampled_rows: int


@dataclass(frozen=True)
class JobLabels:
    """Everything that the pictures of a job's labels show."""

    figures: LabelFigures
    over_time: LabelsOverTime | None


class LabelCounts:
    """Counts the labels of jobs, those of a job that has ended once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._ended: OrderedDict[int, JobLabels] = OrderedDict()

    def of(self, job_id: int) -> JobLabels:
        """Return the labels of a job now."""
        with self._lock:
            known = self._ended.get(job_id)
        if known is not None:
            return known
        with self._store.read() as connection:
            state = connection.scalar(select(Job.state).where(Job.id == job_id))
        found = JobLabels(label_figures(self._store, job_id), labels_over_time(self._store, job_id))
        if state == "done":
            with self._lock:
                self._ended[job_id] = found
                while len(self._ended) > _KEPT_JOBS:
                    self._ended.popitem(last=False)
        return found


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
    """Return the label mix of a job over the time of its labelling; None if no row has a label.

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
    return _by_time(found)


def _window_starts(last: int) -> Sequence[int]:
    windows = -(-last // _WINDOW_ROWS)
    if windows <= _WINDOWS:
        return range(1, last + 1, _WINDOW_ROWS)
    return [1 + windows * place // _WINDOWS * _WINDOW_ROWS for place in range(_WINDOWS)]


def _by_time(found: Sequence[tuple[datetime, str, int]]) -> LabelsOverTime:
    first, last = min(at for at, _, _ in found), max(at for at, _, _ in found)
    step = (last - first) / _POINTS
    counts: dict[int, dict[str, int]] = {}
    for at, label, count in found:
        place = min(int((at - first) / step), _POINTS - 1) if step else 0
        of_place = counts.setdefault(place, {})
        of_place[label] = of_place.get(label, 0) + count
    totals: dict[str, int] = {}
    for each in counts.values():
        for label, count in each.items():
            totals[label] = totals.get(label, 0) + count
    places = sorted(counts)
    return LabelsOverTime(
        [first + step * (place + 0.5) for place in places],
        {
            label: [counts[place].get(label, 0) / sum(counts[place].values()) for place in places]
            for label in sorted(totals, key=lambda name: (-totals[name], name))
        },
        sum(count for _, _, count in found),
    )
