"""What a version's rows of one day look like: labels, confidence, tokens."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select

from db.registry.versions import Version
from db.schema import Chunk, Job, LabeledText
from db.store import Store
from training.reference import CONFIDENCE_BINS, TOKEN_EDGES

#: Rows of a day that are looked at for confidence and tokens: so many stretches of rows, evenly over
#: the day's rows in the order of their labelling, and so many rows of each; with fewer rows than that,
#: all of them.
STRETCHES, STRETCH_ROWS = 40, 25

#: Characters of a text that its tokens are counted of: with so many it is among the longest anyhow.
_TEXT_CHARACTERS = 50_000

#: For how long after the end of a job a chunk that a worker held may still be closed, and more.
_LATE = timedelta(hours=1)

#: Chunks that are asked for in one statement.
_AT_ONCE = 500

#: Gives the number of tokens of each text.
CountTokens = Callable[[list[str]], Sequence[int]]


@dataclass(frozen=True)
class DayCounts:
    """Counts of one day, in the bins of a version's reference."""

    labels: Mapping[str, int]
    #: Of the sampled rows.
    confidence: Sequence[float]
    #: Of the sampled rows whose text is stored.
    tokens: Sequence[float]

    @property
    def rows(self) -> int:
        """All rows of the day."""
        return sum(self.labels.values())

    @property
    def sampled(self) -> float:
        """Those that were looked at one by one."""
        return sum(self.confidence)


def added(days: Sequence[DayCounts], labels: Sequence[str]) -> DayCounts:
    """Return the counts of some days together, each with the weight of its rows.

    A sample of as many rows says as much of a day of a million as of one of a thousand: its counts are
    scaled to the day's rows. Their sum is then that of a sample that would tell as much, which is less
    than was looked at where days differ: (sum of w)^2 / sum of w^2, with w the rows that each row looked
    at stands for (Kish, Survey Sampling, 1965).
    """
    rows = [day.rows for day in days]
    return DayCounts(
        {label: sum(day.labels.get(label, 0) for day in days) for label in labels},
        _weighed([day.confidence for day in days], rows),
        _weighed([day.tokens for day in days], rows),
    )


def _weighed(samples: Sequence[Sequence[float]], rows: Sequence[int]) -> list[float]:
    bins = [0.0] * len(samples[0])
    squares = 0.0
    for counts, whole in zip(samples, rows, strict=True):
        if not (looked_at := sum(counts)):
            continue
        weight = whole / looked_at
        squares += weight**2 * looked_at
        bins = [total + weight * count for total, count in zip(bins, counts, strict=True)]
    total = sum(bins)
    return [total * count / squares for count in bins] if squares else bins


def day_counts(
    store: Store, version: Version, day: date, count_tokens: CountTokens | None
) -> DayCounts:
    """Return what `version` labelled on `day` (UTC), from an index and a sample.

    Without `count_tokens` there are no counts of tokens.
    """
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    mine = (LabeledText.model == version.model, LabeledText.model_version == version.version)
    labels = (
        select(LabeledText.label, func.count())
        .where(*mine, LabeledText.labeled_at >= begin, LabeledText.labeled_at < end)
        .group_by(LabeledText.label)
    )
    with store.read() as connection:
        counts = {label: int(rows) for label, rows in connection.execute(labels)}
        found = _sample(connection, version, begin, end, sum(counts.values()))
    confidence, tokens = [0] * CONFIDENCE_BINS, [0] * (len(TOKEN_EDGES) + 1)
    for one, _ in found:
        confidence[min(int(one * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1
    texts = [text for _, text in found if text is not None]
    if count_tokens is not None and texts:
        lengths: Counter[int] = Counter(
            bisect_left(TOKEN_EDGES, length) for length in count_tokens(texts)
        )
        tokens = [lengths[place] for place in range(len(tokens))]
    return DayCounts(counts, confidence, tokens)


def purges(store: Store, model: str) -> int:
    """Return how many jobs of a model were purged: when there is one more, days have fewer rows."""
    purged = select(func.count()).where(
        Job.state == "purged", Job.model == model, Job.hidden.is_(False)
    )
    with store.read() as connection:
        return int(connection.execute(purged).scalar_one())


def _sample(
    connection: Connection, version: Version, begin: datetime, end: datetime, rows: int
) -> list[tuple[float, str | None]]:
    """Return (confidence, text) of rows of a day, each of which is as likely to be among them.

    All rows of a chunk have its time. The index on time has them by label, so that of a chunk of which
    not all are taken some are drawn, not its first.
    """
    mine = (LabeledText.model == version.model, LabeledText.model_version == version.version)
    columns = (
        LabeledText.job_id,
        LabeledText.row_number,
        LabeledText.confidence,
        func.substr(LabeledText.text, 1, _TEXT_CHARACTERS).label("text"),
    )
    if not rows:
        return []
    found: list[Any] = []
    if rows <= STRETCHES * STRETCH_ROWS:
        in_day = (LabeledText.labeled_at >= begin, LabeledText.labeled_at < end)
        found += connection.execute(select(*columns).where(*mine, *in_day))
    else:
        chunks = _chunks(connection, version, begin, end)
        taken = _drawn([chunk.labeled for chunk in chunks])
        # Most chunks of a trickle are taken whole: they are asked for together.
        whole = [chunks[place] for place, count in taken.items() if count == chunks[place].labeled]
        for place in range(0, len(whole), _AT_ONCE):
            part = whole[place : place + _AT_ONCE]
            query = select(*columns).where(
                *mine,
                LabeledText.labeled_at.in_([chunk.done_at for chunk in part]),
                LabeledText.job_id.in_({chunk.job_id for chunk in part}),
            )
            found += connection.execute(query)
        for place, count in taken.items():
            if count < (chunk := chunks[place]).labeled:
                some = select(*columns).where(
                    *mine,
                    LabeledText.labeled_at == chunk.done_at,
                    LabeledText.job_id == chunk.job_id,
                )
                found += connection.execute(some.order_by(func.random()).limit(count))
    # Of two chunks with one time each row once.
    sampled = {(row.job_id, row.row_number): (row.confidence, row.text) for row in found}
    return list(sampled.values())


def _chunks(
    connection: Connection, version: Version, begin: datetime, end: datetime
) -> Sequence[Any]:
    """Return job_id, done_at and labeled of a day's chunks by a version, in the order of their time."""
    # By job, so that the index on (job, done_at) serves.
    jobs = select(Job.id).where(
        Job.model == version.model,
        Job.state != "purged",
        Job.created_at < end,
        or_(Job.finished_at.is_(None), Job.finished_at >= begin - _LATE),
    )
    chunks = (
        select(Chunk.job_id, Chunk.done_at, Chunk.labeled)
        .where(
            Chunk.job_id.in_(jobs),
            Chunk.done_at >= begin,
            Chunk.done_at < end,
            Chunk.model_version == version.version,
            Chunk.labeled > 0,
        )
        .order_by(Chunk.done_at, Chunk.job_id, Chunk.number)
    )
    return connection.execute(chunks).all()


def _drawn(sizes: Sequence[int]) -> dict[int, int]:
    """Return how many rows are taken of which chunks: those of the stretches that lie in each."""
    whole = sum(sizes)
    if not whole:
        return {}
    stretches = [
        (start, start + STRETCH_ROWS)
        for start in (whole * place // STRETCHES for place in range(STRETCHES))
    ]
    taken: dict[int, int] = {}
    place, begin = 0, 0
    for first, last in stretches:
        while begin + sizes[place] <= first:
            begin += sizes[place]
            place += 1
        at, start = place, begin
        while at < len(sizes) and start < last:
            inside = min(start + sizes[at], last) - max(start, first)
            taken[at] = min(taken.get(at, 0) + inside, sizes[at])
            start += sizes[at]
            at += 1
    return taken
