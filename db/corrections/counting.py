"""Which entries of the log count: the one rule, for every statement that reads corrections.

Of each annotator the newest entry of a row counts, unless it has no label: that one withdraws all
that the annotator said of the row before. Of the entries that count the newest is the row's
correction; where there is none, the model's label stands. `current_labels` says the same in the SQL
of its migration, and a test compares the two.
"""

from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, and_, exists, tuple_
from sqlalchemy.orm import aliased

from db.schema import Correction, LabeledText

#: The table itself, or an alias of it.
Entries: TypeAlias = Any


def counts(entry: Entries = Correction) -> ColumnElement[bool]:
    """Say in SQL that an entry has a label and is the newest of its annotator for its row."""
    return and_(entry.label.is_not(None), ~_followed(entry, by_withdrawal=False))


def stands(entry: Entries = Correction) -> ColumnElement[bool]:
    """Say in SQL that an entry has a label and was not withdrawn, though another may follow it."""
    return and_(entry.label.is_not(None), ~_followed(entry, by_withdrawal=True))


def is_corrected() -> ColumnElement[bool]:
    """Say in SQL that a row of `labeled_texts` has a correction."""
    return exists().where(of_row(), counts())


def is_answered(strategy: str) -> ColumnElement[bool]:
    """Say in SQL that somebody's answer for a row stands that `strategy` chose for them."""
    return exists().where(of_row(), Correction.strategy == strategy, stands())


def of_row(entry: Entries = Correction) -> ColumnElement[bool]:
    """Say in SQL that an entry is of the row of `labeled_texts` at hand."""
    return and_(
        entry.job_id == LabeledText.job_id,
        entry.row_number == LabeledText.row_number,
    )


def _followed(entry: Entries, *, by_withdrawal: bool) -> ColumnElement[bool]:
    later = aliased(Correction)
    following = exists().where(
        later.job_id == entry.job_id,
        later.row_number == entry.row_number,
        later.annotator == entry.annotator,
        tuple_(later.at, later.id) > tuple_(entry.at, entry.id),
    )
    return following.where(later.label.is_(None)) if by_withdrawal else following
