"""What each annotator says of rows now, and how these were chosen when they said so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.binding import portions
from db.corrections.counting import stands
from db.corrections.entries import NewCorrection
from db.corrections.finding import RowKey
from db.schema import Correction
from db.store import Store


@dataclass(frozen=True, slots=True)
class Opinion:
    """What an annotator says of a row, and by what strategies it was chosen when they said so."""

    label: str
    strategies: frozenset[str | None]

    def says(self, one: NewCorrection) -> bool:
        """Whether `one` adds nothing to it."""
        known = one.strategy is None or one.strategy in self.strategies
        return self.label == one.label and known


def opinion_of(store: Store, job: int, row: int, annotator: str) -> Opinion | None:
    """Return what `annotator` says of one row; None if nothing, or no more."""
    with store.read() as connection:
        return opinions(connection, [(job, row)]).get((job, row, annotator))


def opinions(
    connection: Connection, rows: Iterable[RowKey]
) -> Mapping[tuple[int, int, str], Opinion]:
    """Return what each annotator says of the rows, by (job, row, annotator)."""
    numbers: dict[int, list[int]] = {}
    for job, number in rows:
        numbers.setdefault(job, []).append(number)
    found: dict[tuple[int, int, str], Opinion] = {}
    for job, all_of_job in numbers.items():
        for some in portions(sorted(all_of_job)):
            query = (
                select(
                    Correction.row_number,
                    Correction.annotator,
                    Correction.label,
                    Correction.strategy,
                )
                .where(Correction.job_id == job, Correction.row_number.in_(some), stands())
                .order_by(Correction.at, Correction.id)
            )
            for row in connection.execute(query):
                key = (job, row.row_number, row.annotator)
                before = found[key].strategies if key in found else frozenset()
                found[key] = Opinion(row.label, before | {row.strategy})
    return found
