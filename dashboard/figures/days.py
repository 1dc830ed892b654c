"""What a version's rows of one day look like: labels, confidence, tokens."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, func, select

from db.registry.versions import Version
from db.schema import LabeledText
from db.store import Store
from training.reference import CONFIDENCE_BINS, TOKEN_EDGES

#: Rows of a day that are looked at for confidence and tokens: of so many chunks, evenly over the day's
#: time, so many rows each; with fewer rows than that, all of them.
MOMENTS, MOMENT_ROWS = 40, 25

#: Gives the number of tokens of each text.
CountTokens = Callable[[list[str]], Sequence[int]]


@dataclass(frozen=True)
class DayCounts:
    """Counts of one day, in the bins of a version's reference."""

    labels: Mapping[str, int]
    #: Of the sampled rows.
    confidence: Sequence[int]
    #: Of the sampled rows whose text is stored.
    tokens: Sequence[int]

    @property
    def rows(self) -> int:
        """All rows of the day."""
        return sum(self.labels.values())

    @property
    def sampled(self) -> int:
        """Those that were looked at one by one."""
        return sum(self.confidence)


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


def _sample(
    connection: Connection, version: Version, begin: datetime, end: datetime, rows: int
) -> list[tuple[float, str | None]]:
    """Return (confidence, text) of rows at some moments at which a chunk was closed.

    The rows of a chunk have one time. The index on time has them by label, so that of each chunk some
    are drawn, not its first.
    """
    mine = (LabeledText.model == version.model, LabeledText.model_version == version.version)
    columns = (LabeledText.job_id, LabeledText.row_number, LabeledText.confidence, LabeledText.text)
    in_day = (*mine, LabeledText.labeled_at >= begin, LabeledText.labeled_at < end)
    if not rows:
        return []
    if rows <= MOMENTS * MOMENT_ROWS:
        found = connection.execute(select(*columns).where(*in_day)).all()
        return [(row.confidence, row.text) for row in found]
    # Rows come in bursts: of the time between the first and the last, not of the whole day.
    first, last = (
        connection.execute(
            select(LabeledText.labeled_at).where(*in_day).order_by(order).limit(1)
        ).scalar_one()
        for order in (LabeledText.labeled_at, LabeledText.labeled_at.desc())
    )
    sampled = {}
    for place in range(MOMENTS):
        moment = first + (last - first) * place / MOMENTS
        closed = (
            select(func.min(LabeledText.labeled_at))
            .where(*mine, LabeledText.labeled_at >= moment)
            .scalar_subquery()
        )
        some = select(*columns).where(*mine, LabeledText.labeled_at == closed)
        for row in connection.execute(some.order_by(func.random()).limit(MOMENT_ROWS)):
            sampled[row.job_id, row.row_number] = (row.confidence, row.text)
    return list(sampled.values())
