"""The rows of a job, searched and filtered in SQL, a page at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from db.schema import LabeledText
from db.store import Store

#: Rows of a page.
PAGE_ROWS = 50


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
    """A labelled row as the table shows it."""

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


def find_rows(
    store: Store, asked: RowFilter, after: Place | None = None, limit: int = PAGE_ROWS
) -> list[Row]:
    """Return up to `limit` rows after `after`.

    A page begins where the one before it ended, not after so many rows: the last page of a million rows
    is as near as the first.
    """
    with store.read() as connection:
        return [Row(*row) for row in connection.execute(_query(store, asked, after).limit(limit))]


def every_row(store: Store, asked: RowFilter, at_once: int = 5000) -> Iterator[list[Row]]:
    """Yield all the rows, so many at once."""
    after: Place | None = None
    while rows := find_rows(store, asked, after, at_once):
        yield rows
        after = rows[-1].place


def _query(store: Store, asked: RowFilter, after: Place | None) -> Select[Any]:
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
    columns = (
        getattr(LabeledText, name if name != "row" else "row_number")
        for name in Row.__dataclass_fields__
    )
    order = [LabeledText.row_number] if by_row else [LabeledText.confidence, LabeledText.row_number]
    return select(*columns).where(*wanted).order_by(*order)
