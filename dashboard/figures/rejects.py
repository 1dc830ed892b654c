"""The rows of a job that have no label, and why."""

from dataclasses import dataclass

from sqlalchemy import select

from db.schema import Reject
from db.store import Store

#: Rejects of a page.
PAGE_REJECTS = 50


@dataclass(frozen=True)
class RejectedRow:
    """A row that could not be labelled."""

    row: int
    source_file: str | None
    line: int | None
    reason: str
    #: As it stood, escaped; None where texts are not stored.
    raw: str | None


def rejected_rows(
    store: Store, job: int, reason: str = "", after: int = 0, limit: int = PAGE_REJECTS
) -> list[RejectedRow]:
    """Return up to `limit` rejects after row `after`, those of `reason` if it is given."""
    query = (
        select(Reject.row_number, Reject.source_file, Reject.line, Reject.reason, Reject.raw)
        .where(Reject.job_id == job, Reject.row_number > after)
        .order_by(Reject.row_number)
        .limit(limit)
    )
    if reason:
        query = query.where(Reject.reason == reason)
    with store.read() as connection:
        return [RejectedRow(*row) for row in connection.execute(query)]
