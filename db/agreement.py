"""How far people agree who answered for the same rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import aliased

from db.corrections.counting import counts
from db.schema import Correction


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two annotators, by what both say of the rows that both answered."""

    first: str
    second: str
    rows: int
    equal: int
    #: Cohen's kappa; None where both always gave one and the same label.
    kappa: float | None

    @property
    def share(self) -> float:
        """Of the rows, the part on which both say the same."""
        return self.equal / self.rows


def agreement(connection: Connection, job: int) -> tuple[PairAgreement, ...]:
    """Return how far each two annotators agree of the rows of `job` that both answered.

    However the rows were chosen; what was withdrawn, or changed since, does not count.
    """
    one, other = aliased(Correction), aliased(Correction)
    columns = (one.annotator, other.annotator, one.label, other.label)
    query = (
        select(*columns, func.count())
        .join(
            other,
            (other.job_id == one.job_id)
            & (other.row_number == one.row_number)
            & (other.annotator > one.annotator),
        )
        .where(one.job_id == job, counts(one), counts(other))
        .group_by(*columns)
    )
    said: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for first, second, label, other_label, rows in connection.execute(query):
        assert label is not None  # noqa: S101  (what counts has a label)
        assert other_label is not None  # noqa: S101
        said.setdefault((first, second), Counter())[label, other_label] = rows
    return tuple(
        PairAgreement(*pair, pairs.total(), _equal(pairs), cohens_kappa(pairs))
        for pair, pairs in sorted(said.items())
    )


def cohens_kappa(said: Mapping[tuple[str, str], int]) -> float | None:
    """Return Cohen's kappa of pairs of labels and how often each was said; None if undefined.

    Cohen (A coefficient of agreement for nominal scales, Educational and Psychological Measurement
    20, 1960): by how much two agree more than by chance, with each one's own mix of labels, as a part
    of what would be possible.
    """
    total = sum(said.values())
    mixes: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for labels, times in said.items():
        for mix, label in zip(mixes, labels, strict=True):
            mix[label] += times
    by_chance = sum(times * mixes[1][label] for label, times in mixes[0].items())
    possible = total**2 - by_chance
    return (total * _equal(said) - by_chance) / possible if possible else None


def _equal(said: Mapping[tuple[str, str], int]) -> int:
    return sum(times for (one, other), times in said.items() if one == other)
