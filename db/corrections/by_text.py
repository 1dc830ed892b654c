"""What people said of texts, for those who train on it."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.corrections.counting import counts, of_row
from db.schema import Correction, LabeledText
from db.text import text_key


@dataclass(frozen=True, slots=True)
class TextCorrection:
    """A text as a row had it, and the label that a person gave it."""

    text: str
    label: str


def newest_by_text(connection: Connection, model: str) -> dict[str, TextCorrection]:
    """Return the newest correction of each text that `model` labelled, by the text's key.

    Rows whose text was not stored are left out.
    """
    query = (
        select(LabeledText.text, Correction.label)
        .join(LabeledText, of_row())
        .where(LabeledText.model == model, LabeledText.text.is_not(None), counts())
        .order_by(Correction.at, Correction.id)
    )
    return {
        text_key(row.text): TextCorrection(row.text, row.label) for row in connection.execute(query)
    }


def corrected_without_text(connection: Connection, model: str) -> int:
    """Return how many corrected rows of `model` have no stored text."""
    query = (
        select(Correction.job_id, Correction.row_number)
        .join(LabeledText, of_row())
        .where(LabeledText.model == model, LabeledText.text.is_(None), counts())
        .distinct()
    )
    return len(connection.execute(query).all())
