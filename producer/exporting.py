"""`producer export`: the labelled rows of a job, in as little memory for millions as for ten."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from db.errors import UsageError
from db.ledger.jobs import JobRecord, get_job
from db.ledger.totals import job_totals
from db.store import Store
from producer.export_formats import ExportFormat, row_writer
from producer.exported_rows import export_columns, pages
from producer.output_file import standard_output, whole_file


@dataclass(frozen=True)
class Export:
    """What was exported, and what a reader of it should know."""

    job: int
    rows: int
    #: Lines for people: what is not in the file, and why.
    notes: tuple[str, ...]


def export(
    store: Store,
    job_id: int,
    format_: ExportFormat,
    out: Path | None = None,
    *,
    force: bool = False,
) -> Export:
    """Write the labelled rows of a job to `out`, or to stdout.

    Raises `UsageError` if there is no such job, if it was purged, or if `out` cannot be written:
    then no part of a file is left.
    """
    job = get_job(store, job_id)
    refuse_purged(job)
    with ExitStack() as stack:
        stream = stack.enter_context(
            standard_output() if out is None else whole_file(out, force=force)
        )
        rows = _write(store, job, format_, stream)
    return Export(job_id, rows, _notes(store, job))


def refuse_purged(job: JobRecord) -> None:
    """Raise `UsageError` for a job whose rows are gone."""
    if job.state == "purged":
        raise UsageError(
            f"job {job.id} was purged: its rows are gone, its counts stay; "
            f"see: producer status {job.id}"
        )


def _write(store: Store, job: JobRecord, format_: ExportFormat, stream: BinaryIO) -> int:
    columns = export_columns(store, job)
    writer = row_writer(format_, stream, columns.names)
    rows = 0
    for page in pages(store, job.id, columns):
        writer.write(page)
        rows += len(page)
    writer.finish()
    return rows


def _notes(store: Store, job: JobRecord) -> tuple[str, ...]:
    notes = []
    totals = job_totals(store, job.id)
    if job.state == "running":
        notes.append(
            f"job {job.id} is running: only the rows that were labelled when they were read"
        )
    if not job.store_text:
        notes.append(f"job {job.id} was made with --no-store-text: its texts are empty")
    if totals.rejected:
        notes.append(
            f"rejected rows are not in it: {totals.rejected:,}; see: producer rejects {job.id}"
        )
    return tuple(notes)
