"""Rows of a job by chance, each that is open as likely as the others, without a list of them all."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence, Set

from sqlalchemy import ColumnElement, Connection, func, select

from db.binding import AT_ONCE
from db.schema import LabeledText

#: Row numbers that are asked for first; each further time twice as many, up to `AT_ONCE`.
_ASKED_FIRST = 32

#: Numbers that are asked for before all open rows are listed: this many, or this many times those
#: wanted, but of each four numbers of the job one at most.
_MOST_ASKED, _ASKED_FOR_EACH, _SHARE_ASKED = 2_000, 8, 4

#: What the rows are called where their labels do not matter.
_ANY = ""

#: What is open, in SQL.
Conditions = Sequence[ColumnElement[bool]]


def any_rows(
    connection: Connection,
    job: int,
    is_open: Conditions,
    wanted: int,
    chance: random.Random,
    skipped: Set[int] = frozenset(),
) -> list[int]:
    """Return the numbers of up to `wanted` open rows of `job`, a simple random sample of them."""
    return _Drawing(connection, job, is_open, wanted, chance, skipped).of((_ANY,))[_ANY]


def rows_of_labels(
    connection: Connection,
    job: int,
    is_open: Conditions,
    wanted: int,
    chance: random.Random,
    labels: Collection[str],
    skipped: Set[int] = frozenset(),
) -> dict[str, list[int]]:
    """Return such a sample of up to `wanted` rows of each of `labels`."""
    return _Drawing(connection, job, is_open, wanted, chance, skipped).of(labels)


class _Drawing:
    """Numbers are drawn and looked up; where few of them are open rows, those are listed at last.

    What was found until then is as likely to be any of the open rows, and so is what is drawn of
    the others: it is one sample.
    """

    def __init__(
        self,
        connection: Connection,
        job: int,
        is_open: Conditions,
        wanted: int,
        chance: random.Random,
        skipped: Set[int],
    ) -> None:
        self._connection = connection
        self._job = job
        self._rows = select(LabeledText.row_number, LabeledText.label).where(*is_open)
        self._wanted = wanted
        self._chance = chance
        self._skipped = skipped

    def of(self, strata: Collection[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {stratum: [] for stratum in strata}
        for numbers in self._numbers(len(strata)):
            query = self._rows.where(LabeledText.row_number.in_(numbers))
            labels = {row.row_number: row.label for row in self._connection.execute(query)}
            for number in numbers:
                stratum = _ANY if _ANY in found else labels.get(number)
                if number in labels and stratum in found:
                    found[stratum].append(number)
            if not self._lacking(found):
                break
        else:
            self._list_the_rest(found)
        return {stratum: numbers[: self._wanted] for stratum, numbers in found.items()}

    def _lacking(self, found: dict[str, list[int]]) -> list[str]:
        return [stratum for stratum, numbers in found.items() if len(numbers) < self._wanted]

    def _numbers(self, strata: int) -> Iterator[list[int]]:
        """Yield numbers of the job's rows in random order, none twice."""
        newest = select(func.max(LabeledText.row_number)).where(LabeledText.job_id == self._job)
        last = self._connection.scalar(newest) or 0
        wanted = self._wanted * strata
        left = min(max(_MOST_ASKED, _ASKED_FOR_EACH * wanted), last // _SHARE_ASKED)
        if left < wanted:
            return
        tried = set(self._skipped)
        asked = _ASKED_FIRST
        while left > 0:
            numbers: list[int] = []
            for _ in range(min(asked, left)):
                number = self._chance.randint(1, last)
                if number not in tried:
                    tried.add(number)
                    numbers.append(number)
            yield numbers
            left -= asked
            asked = min(2 * asked, AT_ONCE)

    def _list_the_rest(self, found: dict[str, list[int]]) -> None:
        lacking = self._lacking(found)
        if _ANY in found:
            query = self._rows.order_by(LabeledText.row_number)
        else:
            # The order of an index that has the label: only those rows themselves are read.
            query = self._rows.where(LabeledText.label.in_(lacking))
            query = query.order_by(LabeledText.confidence, LabeledText.row_number)
        known = set(self._skipped).union(*found.values())
        rest: dict[str, list[int]] = {stratum: [] for stratum in lacking}
        for row in self._connection.execute(query):
            if row.row_number not in known:
                rest[_ANY if _ANY in found else row.label].append(row.row_number)
        for stratum, numbers in rest.items():
            more = min(len(numbers), self._wanted - len(found[stratum]))
            found[stratum] += self._chance.sample(numbers, more)
