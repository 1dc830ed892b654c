"""The store's own rows as labelled data: `job:12`, or `job:12:corrected` for those corrected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from db.corrections import newest_by_text
from db.errors import UsageError
from db.ledger.jobs import JobRecord, get_job
from db.schema import LabeledText, ModelVersion
from db.settings import get_settings
from db.store import open_store
from db.text import text_key
from training.label_files import LabelFile, LabelledRow
from training.multi_label import multi_label_error
from worker.preparing import make_ready

if TYPE_CHECKING:
    from db.store import Store

_STORE_ROWS = re.compile(r"job:(?P<job>[1-9][0-9]{0,17})(?P<corrected>:corrected)?")


@dataclass(frozen=True, slots=True)
class StoreRows:
    """Which rows of the store are asked for; a file of such a name is written `./job:12`."""

    job: int
    corrected_only: bool

    def __str__(self) -> str:
        return f"job:{self.job}{':corrected' if self.corrected_only else ''}"


def parse_store_rows(source: str) -> StoreRows | None:
    """Read `job:12` or `job:12:corrected`; None if `source` is something else.

    Raises UsageError for what begins like it and goes on otherwise.
    """
    match = _STORE_ROWS.fullmatch(source)
    if match is not None:
        return StoreRows(int(match["job"]), match["corrected"] is not None)
    if source.startswith("job:"):
        raise UsageError(f"{source} names no job's rows: write job:NUMBER or job:NUMBER:corrected")
    return None


def read_store_rows(wanted: StoreRows, store: Store | None = None) -> LabelFile:
    """Return the rows of a job that have a stored text, in row order, and the label names.

    A row's label is the newest correction of its text, else the model's. The names are those of
    the newest version that labelled rows of the job. Raises UsageError for a job that is not
    there or kept no texts, and for a multi-label model.
    """
    if store is not None:
        return _read(wanted, store)
    settings = get_settings()
    opened = open_store(settings)
    try:
        make_ready(opened, settings)
        return _read(wanted, opened)
    finally:
        opened.close()


def _read(wanted: StoreRows, store: Store) -> LabelFile:
    job = get_job(store, wanted.job)
    with store.read() as connection:
        versions = _versions(connection, job)
        if any(version.multi_label for version in versions):
            raise multi_label_error(f"{wanted} of the multi-label model {job.model}", None)
        corrected = newest_by_text(connection, job.model)
        rows = []
        for row in connection.execute(_rows(job)):
            correction = corrected.get(text_key(row.text))
            if correction is not None or not wanted.corrected_only:
                label = row.label if correction is None else correction.label
                rows.append(LabelledRow(row.text, label, row.row_number))
    if not rows:
        kind = "corrected rows" if wanted.corrected_only else "rows"
        raise UsageError(
            f"job {wanted.job} has no {kind} with a stored text: it labelled none, was purged, "
            "or ran with --no-store-text"
        )
    known = tuple(versions[-1].labels)
    # Rows of an older version, or corrected ones, may have labels that the newest does not know.
    others = {str(row.label) for row in rows}.difference(known)
    return LabelFile(tuple(rows), (*known, *sorted(others)))


def _versions(connection: Connection, job: JobRecord) -> Sequence[Any]:
    """Return labels and multi_label of the versions that labelled rows of `job`, newest last."""
    labelled = (
        select(LabeledText.row_number)
        .where(
            LabeledText.job_id == job.id,
            LabeledText.model_version == ModelVersion.version,
        )
        .exists()
    )
    return connection.execute(
        select(ModelVersion.labels, ModelVersion.multi_label)
        .where(ModelVersion.model == job.model, labelled)
        .order_by(ModelVersion.version)
    ).all()


def _rows(job: JobRecord) -> Any:
    return (
        select(LabeledText.row_number, LabeledText.text, LabeledText.label)
        .where(LabeledText.job_id == job.id, LabeledText.text.is_not(None))
        .order_by(LabeledText.row_number)
    )
