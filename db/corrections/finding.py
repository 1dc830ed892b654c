"""Which rows corrections mean, and whether those rows can have such labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, select

from db.binding import portions
from db.corrections.entries import STRATEGIES, NewCorrection, RefusedCorrection
from db.schema import LabeledText, ModelVersion
from db.text import is_storable

#: Characters of a foreign value that a message shows.
_SHOWN_CHARACTERS = 60

#: A row: job and number.
RowKey: TypeAlias = tuple[int, int]

#: Corrections, each with the row that it means.
Found: TypeAlias = list[tuple[NewCorrection, Row[Any]]]


def resolved(
    connection: Connection, given: Sequence[NewCorrection]
) -> tuple[Found, list[RefusedCorrection]]:
    """Return each correction with its row, and those that cannot be entered, with the reason."""
    by_row = _rows_by_number(
        connection, {(one.job, one.row) for one in given if one.job and one.row}
    )
    by_id = _rows_by_id(connection, {one.external_id for one in given if not (one.job and one.row)})
    found: Found = []
    refused: list[RefusedCorrection] = []
    for one in given:
        row = _nonsense(one) or _row_of(one, by_row, by_id)
        if not isinstance(row, str) and not (row.text_hash or "").startswith(one.text_key or ""):
            row = (
                f"row {row.row_number} of job {row.job_id} has another text than the one that "
                "was shown: import it where it was exported"
            )
        if isinstance(row, str):
            refused.append(RefusedCorrection(one.place, row))
        else:
            found.append((one, row))
    return found, refused


def unusable_name(annotator: str) -> str | None:
    """Return why nobody can be called so; None if somebody can."""
    if not annotator.strip() or not is_storable(annotator):
        return "the annotator's name is blank, or cannot be stored"
    return None


def _nonsense(one: NewCorrection) -> str | None:
    if one.strategy is not None and one.strategy not in STRATEGIES:
        return f"rows are not chosen by {_shown(one.strategy)}, but by {', '.join(STRATEGIES)}"
    return unusable_name(one.annotator)


def _row_of(
    one: NewCorrection, by_row: Mapping[RowKey, Row[Any]], by_id: Mapping[str, list[Row[Any]]]
) -> Row[Any] | str:
    if one.job and one.row:
        return by_row.get((one.job, one.row)) or no_such_row(one.job, one.row)
    if one.external_id:
        return _only_row(one, by_id.get(one.external_id, ()))
    return "it names no row: give job and row, or external_id"


def no_such_row(job: int, row: int) -> str:
    """Say that a row is not there, or has no label."""
    return f"there is no labelled row {row} in job {job}"


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
) -> dict[RowKey, Row[Any]]:
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


def unknown_labels(connection: Connection, found: Found) -> list[RefusedCorrection]:
    """Return those whose label the version does not know that labelled their row."""
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


def _shown(value: str) -> str:
    return repr(value[:_SHOWN_CHARACTERS] + ("…" if len(value) > _SHOWN_CHARACTERS else ""))
