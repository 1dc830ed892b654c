"""People's labels for rows: appended, never changed, the newest counts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy.exc import IntegrityError

from db.errors import UsageError
from db.schema import Correction, LabeledText, ModelVersion
from db.store import Store
from db.text import is_storable, text_key

#: Values bound in one statement.
_AT_ONCE = 500

#: Characters of a foreign value that a message shows.
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class NewCorrection:
    """A label for the row `row` of `job`, or for the row with `external_id` (of `job`, if given)."""

    label: str
    annotator: str
    job: int | None = None
    row: int | None = None
    external_id: str | None = None
    #: How the hash of the row's text begins; None: whatever text it has.
    text_key: str | None = None
    #: Where it stands in its file, from 1.
    place: int = 1


@dataclass(frozen=True, slots=True)
class RefusedCorrection:
    """Why the correction at `place` cannot be entered."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of some corrections: nothing was written if any was refused."""

    added: int
    #: Equal to the newest one of that row by the same annotator.
    unchanged: int
    #: Followed by another of the same row and annotator among those given.
    superseded: int
    refused: tuple[RefusedCorrection, ...]


@dataclass(frozen=True, slots=True)
class TextCorrection:
    """A text as a row had it, and the label that a person gave it."""

    text: str
    label: str


#: A row: job and number.
_RowKey = tuple[int, int]


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
    With `skip_unchanged`, entering the same ones again adds nothing. Raises `UsageError` if a row
    is purged at the same moment.
    """
    try:
        with store.read() if dry_run else store.write() as connection:
            found, refused = _resolved(connection, given)
            refused += _unknown_labels(connection, found)
            newest = {(row.job_id, row.row_number, one.annotator): one for one, row in found}
            superseded = len(found) - len(newest)
            if skip_unchanged:
                known = _newest_by_annotator(connection, {key[:2] for key in newest})
                wanted = {key: one for key, one in newest.items() if known.get(key) != one.label}
            else:
                wanted = newest
            if wanted and not refused and not dry_run:
                connection.execute(
                    insert(Correction),
                    [
                        {
                            "job_id": job,
                            "row_number": row,
                            "label": one.label,
                            "annotator": annotator,
                        }
                        for (job, row, annotator), one in sorted(
                            wanted.items(), key=lambda item: item[1].place
                        )
                    ],
                )
    except IntegrityError:
        raise UsageError(
            "a job was purged while its rows were corrected: nothing was entered; try again"
        ) from None
    return Entered(
        added=0 if refused else len(wanted),
        unchanged=len(newest) - len(wanted),
        superseded=superseded,
        refused=tuple(sorted(refused, key=lambda each: each.place)),
    )


def newest_by_text(connection: Connection, model: str) -> dict[str, TextCorrection]:
    """Return the newest correction of each text that `model` labelled, by the text's key.

    Rows whose text was not stored are left out.
    """
    query = (
        select(LabeledText.text, Correction.label)
        .join(
            LabeledText,
            (LabeledText.job_id == Correction.job_id)
            & (LabeledText.row_number == Correction.row_number),
        )
        .where(LabeledText.model == model, LabeledText.text.is_not(None))
        .order_by(Correction.at, Correction.id)
    )
    return {
        text_key(row.text): TextCorrection(row.text, row.label) for row in connection.execute(query)
    }


def corrected_without_text(connection: Connection, model: str) -> int:
    """Return how many corrected rows of `model` have no stored text."""
    query = (
        select(Correction.job_id, Correction.row_number)
        .join(
            LabeledText,
            (LabeledText.job_id == Correction.job_id)
            & (LabeledText.row_number == Correction.row_number),
        )
        .where(LabeledText.model == model, LabeledText.text.is_(None))
        .distinct()
    )
    return len(connection.execute(query).all())


_Found = list[tuple[NewCorrection, Row[Any]]]


def _resolved(
    connection: Connection, given: Sequence[NewCorrection]
) -> tuple[_Found, list[RefusedCorrection]]:
    by_row = _rows_by_number(
        connection, {(one.job, one.row) for one in given if one.job and one.row}
    )
    by_id = _rows_by_id(connection, {one.external_id for one in given if not (one.job and one.row)})
    found: _Found = []
    refused: list[RefusedCorrection] = []
    for one in given:
        if not one.annotator.strip() or not is_storable(one.annotator):
            reason: str | Row[Any] = "the annotator's name is blank, or cannot be stored"
        elif one.job and one.row:
            reason = by_row.get((one.job, one.row)) or (
                f"there is no labelled row {one.row} in job {one.job}"
            )
        elif one.external_id:
            reason = _only_row(one, by_id.get(one.external_id, ()))
        else:
            reason = "it names no row: give job and row, or external_id"
        if not isinstance(reason, str) and not (reason.text_hash or "").startswith(
            one.text_key or ""
        ):
            reason = (
                f"row {reason.row_number} of job {reason.job_id} has another text than the one that "
                "was shown: import it where it was exported"
            )
        if isinstance(reason, str):
            refused.append(RefusedCorrection(one.place, reason))
        else:
            found.append((one, reason))
    return found, refused


def _only_row(one: NewCorrection, rows: Iterable[Row[Any]]) -> Row[Any] | str:
    """Return the one row that an external id means, or why there is none."""
    shown = _shown(one.external_id or "")
    rows = [row for row in rows if one.job is None or row.job_id == one.job]
    where = f" in job {one.job}" if one.job else ""
    if not rows:
        return f"there is no labelled row with the external_id {shown}{where}"
    newest = max(rows, key=lambda row: (row.labeled_at, row.job_id, row.row_number))
    if len({(row.model, row.id_scope) for row in rows}) > 1:
        jobs = ", ".join(str(job) for job in sorted({row.job_id for row in rows})[:10])
        return f"external_id {shown} stands in several sources or models (jobs {jobs}): give a job"
    twins = [row for row in rows if row.job_id == newest.job_id]
    if len({row.text_hash for row in twins}) > 1:
        numbers = ", ".join(str(number) for number in sorted(row.row_number for row in twins)[:10])
        return (
            f"external_id {shown} has different texts in job {newest.job_id} (rows {numbers}): "
            "give job and row"
        )
    return newest


def _rows_by_number(
    connection: Connection, wanted: Iterable[tuple[int | None, int | None]]
) -> dict[_RowKey, Row[Any]]:
    numbers: dict[int, list[int]] = {}
    for job, number in wanted:
        if job is not None and number is not None:
            numbers.setdefault(job, []).append(number)
    found = {}
    for job, all_of_job in numbers.items():
        for some in portions(sorted(all_of_job)):
            query = _columns().where(LabeledText.job_id == job, LabeledText.row_number.in_(some))
            found.update({(row.job_id, row.row_number): row for row in connection.execute(query)})
    return found


def _rows_by_id(connection: Connection, wanted: Iterable[str | None]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    # An id that cannot be stored stands nowhere, and PostgreSQL would refuse the question.
    for some in portions(sorted(name for name in wanted if name and is_storable(name))):
        query = _columns().where(LabeledText.external_id.in_(some))
        for row in connection.execute(query):
            found.setdefault(row.external_id, []).append(row)
    return found


def _columns() -> Any:
    return select(
        LabeledText.job_id,
        LabeledText.row_number,
        LabeledText.external_id,
        LabeledText.id_scope,
        LabeledText.text_hash,
        LabeledText.model,
        LabeledText.model_version,
        LabeledText.labeled_at,
    )


def _unknown_labels(connection: Connection, found: _Found) -> list[RefusedCorrection]:
    known: dict[tuple[str, int], Sequence[str]] = {}
    refused = []
    for one, row in found:
        key = (row.model, row.model_version)
        if key not in known:
            known[key] = _labels(connection, *key)
        if one.label not in known[key]:
            refused.append(
                RefusedCorrection(
                    one.place,
                    f"{row.model}:{row.model_version} knows no label {_shown(one.label)}; "
                    f"its labels: {', '.join(known[key])}",
                )
            )
    return refused


def _labels(connection: Connection, model: str, version: int) -> Sequence[str]:
    query = select(ModelVersion.labels).where(
        ModelVersion.model == model, ModelVersion.version == version
    )
    return connection.scalar(query) or ()


def _newest_by_annotator(
    connection: Connection, rows: Iterable[_RowKey]
) -> Mapping[tuple[int, int, str], str]:
    """Return the newest label by (job, row, annotator)."""
    numbers: dict[int, list[int]] = {}
    for job, number in rows:
        numbers.setdefault(job, []).append(number)
    newest: dict[tuple[int, int, str], str] = {}
    for job, all_of_job in numbers.items():
        for some in portions(sorted(all_of_job)):
            query = (
                select(Correction.row_number, Correction.annotator, Correction.label)
                .where(Correction.job_id == job, Correction.row_number.in_(some))
                .order_by(Correction.at, Correction.id)
            )
            for row in connection.execute(query):
                newest[job, row.row_number, row.annotator] = row.label
    return newest


def portions(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield `values` in parts that one statement may bind."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _shown(value: str) -> str:
    return repr(value[:_SHOWN_CHARACTERS] + ("…" if len(value) > _SHOWN_CHARACTERS else ""))
