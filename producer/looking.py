"""The commands that look at jobs and care for them: status, rejects, export, cancel, purge."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import UsageError
from producer.export_formats import ExportFormat

if TYPE_CHECKING:
    from producer.stopping_jobs import Held

Job = Annotated[int, typer.Argument(min=1, help="Number of the job; see: producer status.")]


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command("status")(status)
    app.command("rejects")(rejects)
    app.command("export")(export)
    app.command("cancel")(cancel)
    app.command("purge")(purge)


def status(
    job: Annotated[
        int | None, typer.Argument(min=1, help="Show this job; without it, the newest 20.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Show the newest jobs and the workers alive, or everything about JOB."""
    from producer.existing_store import existing_store
    from producer.status import details, overview, render_details, render_overview
    from producer.terminal import show, show_json

    with existing_store() as store:
        if job is None:
            all_jobs = overview(store)
            found, view = all_jobs.to_json(), render_overview(all_jobs)
        else:
            one_job = details(store, job)
            found, view = one_job.to_json(), render_details(one_job)
    if as_json:
        show_json(found)
    else:
        show(view)


def rejects(
    job: Job,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Write all of them as CSV on stdout.")
    ] = False,
) -> None:
    """Show the rows of JOB that could not be labelled, and why."""
    from producer.existing_store import existing_store
    from producer.output_file import standard_output
    from producer.rejects import render, write_csv
    from producer.terminal import show

    with existing_store() as store:
        if as_csv:
            with standard_output() as stream:
                write_csv(store, job, stream)
        else:
            show(render(store, job))


def export(
    job: Job,
    format_: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="How to write them.", show_default="by PATH's end, else csv"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="standard output")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace PATH if it exists.")] = False,
) -> None:
    """Write the labelled rows of JOB: CSV (formula-like cells escaped), JSONL or Parquet."""
    chosen = format_ or _format_of(out)
    if chosen is ExportFormat.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; give --out PATH or redirect stdout")
    from producer.existing_store import existing_store
    from producer.exporting import export as run_export
    from producer.terminal import counted

    with existing_store() as store:
        done = run_export(store, job, chosen, out, force=force)
    for note in done.notes:
        typer.echo(note, err=True)
    where = "" if out is None else f" to {out.absolute()}"
    typer.echo(f"{counted(done.rows, 'row')} written as {chosen}{where}", err=True)


def cancel(job: Job) -> None:
    """Stop JOB: nothing more of it is labelled; what is labelled stays."""
    from producer.existing_store import existing_store
    from producer.stopping_jobs import cancel_job
    from producer.terminal import counted

    with existing_store() as store:
        stopped = cancel_job(store, job)
    typer.echo(
        f"job {job} is cancelled: {counted(stopped.labeled, 'labelled row')} to stay, "
        f"{stopped.rejected:,} rejected, {stopped.dropped:,} dropped that waited"
    )
    if stopped.held:
        typer.echo(
            f"workers hold {counted(stopped.held, 'more row')} now, which may still be labelled"
        )
    typer.echo("to begin again: producer ingest with the same source (it makes a new job)")


def purge(
    job: Job,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete every text, label, reject and correction of JOB for good; its counts stay."""
    from producer.existing_store import existing_store
    from producer.stopping_jobs import held_by, purge_job

    with existing_store() as store:
        held = held_by(store, job)
        if not yes and not _agreed(held):
            typer.echo("nothing was deleted", err=True)
            raise typer.Exit(2)
        purge_job(store, job)
    typer.echo(f"job {job} is purged; gone: {_contents(held)}")


def _format_of(out: Path | None) -> ExportFormat:
    if out is not None and out.suffix.lower().lstrip(".") in list(ExportFormat):
        return ExportFormat(out.suffix.lower().lstrip("."))
    return ExportFormat.CSV


def _agreed(held: "Held") -> bool:
    from producer.terminal import visible

    number = held.job.id
    if not sys.stdin.isatty():
        raise UsageError(
            f"purge deletes for good and nobody can be asked here; say: producer purge {number} --yes"
        )
    return typer.confirm(
        f"delete {_contents(held)} of job {number} ({visible(held.job.source)}) for good?",
        err=True,
    )


def _contents(held: "Held") -> str:
    from producer.terminal import counted

    return (
        f"{counted(held.labeled, 'labelled row')}, {counted(held.rejects, 'reject')} and "
        f"{counted(held.corrections, 'correction')}"
    )
