"""Taking back what somebody said of a row, by one more entry in the log."""

from sqlalchemy import case, insert, select
from sqlalchemy.exc import IntegrityError

from db.clock import db_now
from db.corrections.counting import counts
from db.corrections.entering import purged_meanwhile
from db.corrections.finding import no_such_row, unusable_name
from db.errors import UsageError
from db.schema import Correction, LabeledText
from db.store import Store


def withdraw(store: Store, job: int, row: int, annotator: str) -> bool:
    """Withdraw everything that `annotator` said of a row; return whether there was anything.

    Appends an entry without a label. What others said of the row stands; a second time adds
    nothing. Raises `UsageError` for a row that is not there, or is purged at the same moment.
    """
    unusable = unusable_name(annotator)
    if unusable is not None:
        raise UsageError(unusable)
    try:
        with store.write() as connection:
            # Of two that withdraw at once, the second waits here, and finds nothing to withdraw.
            there = connection.scalar(
                select(LabeledText.row_number)
                .where(LabeledText.job_id == job, LabeledText.row_number == row)
                .with_for_update(key_share=True)
            )
            if there is None:
                raise UsageError(no_such_row(job, row))
            said = (
                Correction.job_id == job,
                Correction.row_number == row,
                Correction.annotator == annotator,
            )
            newest = connection.scalar(select(Correction.at).where(*said, counts()))
            if newest is None:
                return False
            connection.execute(
                insert(Correction).values(
                    job_id=job,
                    row_number=row,
                    label=None,
                    annotator=annotator,
                    # No older than what it withdraws, though the clock was set back.
                    at=case((db_now() > newest, db_now()), else_=newest),
                )
            )
    except IntegrityError:
        raise purged_meanwhile() from None
    return True
