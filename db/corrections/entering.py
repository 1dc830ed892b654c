"""Appending people's labels for rows to the log; nothing of it is ever changed."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from db.corrections.entries import Entered, NewCorrection
from db.corrections.finding import resolved, unknown_labels
from db.corrections.opinions import opinions
from db.errors import UsageError
from db.schema import Correction
from db.store import Store


def add_corrections(
    store: Store,
    given: Sequence[NewCorrection],
    *,
    skip_unchanged: bool = True,
    dry_run: bool = False,
) -> Entered:
    """Append corrections in their order, in one transaction: all of them, or none.

    A row must be labelled, its version must know the label, and an external id must name one row:
    of rows that share one in the same scope and model the newest counts, as in `current_labels`.
    With `skip_unchanged`, entering the same ones again adds nothing, but what was withdrawn, or
    answered when the row was chosen in another way, is news. Raises `UsageError` if a row is purged
    at the same moment.
    """
    try:
        with store.read() if dry_run else store.write() as connection:
            found, refused = resolved(connection, given)
            refused += unknown_labels(connection, found)
            newest = {(row.job_id, row.row_number, one.annotator): one for one, row in found}
            superseded = len(found) - len(newest)
            wanted = newest
            if skip_unchanged:
                known = opinions(connection, {key[:2] for key in newest})
                wanted = {
                    key: one
                    for key, one in newest.items()
                    if key not in known or not known[key].says(one)
                }
            if wanted and not refused and not dry_run:
                _append(connection, wanted)
    except IntegrityError:
        raise purged_meanwhile() from None
    return Entered(
        added=0 if refused else len(wanted),
        unchanged=len(newest) - len(wanted),
        superseded=superseded,
        refused=tuple(sorted(refused, key=lambda each: each.place)),
    )


def purged_meanwhile() -> UsageError:
    """Return the error for rows that went while entries of them were written."""
    return UsageError(
        "a job was purged while its rows were corrected: nothing was entered; try again"
    )


def _append(connection: Connection, wanted: Mapping[tuple[int, int, str], NewCorrection]) -> None:
    connection.execute(
        insert(Correction),
        [
            {
                "job_id": job,
                "row_number": row,
                "label": one.label,
                "annotator": annotator,
                "strategy": one.strategy,
            }
            for (job, row, annotator), one in sorted(wanted.items(), key=lambda item: item[1].place)
        ],
    )
