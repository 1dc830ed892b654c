"""The rows of a job, searched and filtered in SQL, a page at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from db.errors import UsageError
from db.schema import Job, LabeledText
from db.store import Store

#: Rows of a page, and characters of a text that are shown on it.
PAGE_ROWS, SHOWN_CHARACTERS = 50, 500

#: Rows of a part of a file, and characters of text and id in it, at most (but one row is always taken):
#: with rows of up to 16 MB, rows alone would not bound memory.
PART_ROWS, PART_CHARACTERS = 5_000, 4_000_000


class Order(StrEnum):
    """How the rows are ordered."""

    ROW = "row"
    #: The least confident first.
    CONFIDENCE = "confidence"


@dataclass(frozen=True)
class Place:
    """The row after which a page begins."""

    row: int
    confidence: float


@dataclass(frozen=True)
class RowFilter:
    """Which rows of a job, in which order."""

    job: int
    #: Stands anywhere in the text, in capitals or not.
    words: str = ""
    label: str = ""
    at_least: float | None = None
    at_most: float | None = None
    only_unsure: bool = False
    order: Order = Order.ROW


@dataclass(frozen=True)
class Row:
    """A labelled row as a file has it."""

    row: int
    external_id: str | None
    text: str | None
    truncated: bool
    label: str
    confidence: float
    unsure: bool
    model: str
    model_version: int
    engine: str
    labeled_at: datetime

    @property
    def place(self) -> Place:
        """Where a page after this row begins."""
        return Place(self.row, self.confidence)


@dataclass(frozen=True)
class ShownRow(Row):
    """A row as the table shows it: of a long text the beginning."""

    #: Whether `text` is not all of it.
    cut: bool


def find_rows(
    store: Store, asked: RowFilter, after: Place | None = None, limit: int = PAGE_ROWS
) -> list[ShownRow]:
    """Return up to `limit` rows after `after`.

    A page begins where the one before it ended, not after so many rows: the last page of a million rows
    is as near as the first.
    """
    # Cut by the database: fifty rows may have fifty times 16 MB.
    columns: list[Any] = [
        func.substr(LabeledText.text, 1, SHOWN_CHARACTERS).label("text") if name == "text" else each
        for name, each in _COLUMNS.items()
    ]
    cut = func.coalesce(func.length(LabeledText.text) > SHOWN_CHARACTERS, False)
    query = _wanted(select(*columns, cut), store, asked, after).limit(limit)
    with store.read() as connection:
        return [ShownRow(*row) for row in connection.execute(query)]


def every_row(
    store: Store,
    asked: RowFilter,
    *,
    part_rows: int = PART_ROWS,
    part_characters: int = PART_CHARACTERS,
) -> Iterator[list[Row]]:
    """Yield all the rows, a part at once.

    Raises `UsageError` at the end if the job was purged meanwhile: what was yielded is not all of it.
    """
    after: Place | None = None
    while places := _part(store, asked, after, part_rows, part_characters):
        numbers = [place.row for place in places]
        # By their numbers: what it takes to find them is not done a second time.
        query = select(*_COLUMNS.values()).where(
            LabeledText.job_id == asked.job, LabeledText.row_number.in_(numbers)
        )
        with store.read() as connection:
            rows = {row[0]: Row(*row) for row in connection.execute(query)}
        yield [rows[number] for number in numbers if number in rows]
        after = places[-1]
    with store.read() as connection:
        state = connection.scalar(select(Job.state).where(Job.id == asked.job))
    if state == "purged":
        raise UsageError(f"job {asked.job} was purged meanwhile: its rows are gone")


def _part(
    store: Store, asked: RowFilter, after: Place | None, rows: int, characters: int
) -> list[Place]:
    """Return the places of the next rows, as many as may be in memory at once."""
    size = func.coalesce(func.length(LabeledText.text), 0) + func.coalesce(
        func.length(LabeledText.external_id), 0
    )
    sizes = select(LabeledText.row_number, LabeledText.confidence, size)
    places: list[Place] = []
    total = 0
    with store.read() as connection:
        for row, confidence, length in connection.execute(
            _wanted(sizes, store, asked, after).limit(rows)
        ):
            total += length
            if places and total > characters:
                break
            places.append(Place(row, confidence))
    return places


#: By the name of the field.
_COLUMNS: dict[str, Any] = {
    name: getattr(LabeledText, "row_number" if name == "row" else name)
    for name in Row.__dataclass_fields__
}


def _wanted(query: Select[Any], store: Store, asked: RowFilter, after: Place | None) -> Select[Any]:
    """Return `query` of the rows after `after`, in order."""
    wanted: list[ColumnElement[bool]] = [LabeledText.job_id == asked.job]
    if asked.words:
        pattern = "%" + "".join(f"\\{one}" if one in "\\%_" else one for one in asked.words) + "%"
        # SQLite's LIKE tells capitals from others of no ASCII letter; asked by ILIKE's name it would make
        # a copy of each text in small letters first.
        like = LabeledText.text.like if store.dialect == "sqlite" else LabeledText.text.ilike
        wanted.append(like(pattern, escape="\\"))
    if asked.label:
        wanted.append(LabeledText.label == asked.label)
    if asked.at_least is not None:
        wanted.append(LabeledText.confidence >= asked.at_least)
    if asked.at_most is not None:
        wanted.append(LabeledText.confidence <= asked.at_most)
    if asked.only_unsure:
        wanted.append(LabeledText.unsure.is_(True))
    by_row = asked.order is Order.ROW
    if after is not None:
        later = LabeledText.row_number > after.row
        wanted.append(
            later
            if by_row
            else or_(
                LabeledText.confidence > after.confidence,
                and_(LabeledText.confidence == after.confidence, later),
            )
        )
        if not by_row:
            # Said once more, so that an index can begin there.
            wanted.append(LabeledText.confidence >= after.confidence)
    order = [LabeledText.row_number] if by_row else [LabeledText.confidence, LabeledText.row_number]
    return query.where(*wanted).order_by(*order)
