"""`training correct` and `training corrections import`: people's labels for rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.errors import UsageError
from training.commands.common import print_json
from training.registry import open_registry

if TYPE_CHECKING:
    from db.corrections import RefusedCorrection

#: Lines with errors that are told one by one.
TOLD_LINES = 20

Annotator = Annotated[str | None, typer.Option(help="Who says so; by default you.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

corrections = typer.Typer(
    help="Corrections of many rows at once.", no_args_is_help=True, rich_markup_mode=None
)


def correct(
    job: Annotated[int, typer.Argument(min=1, help="The job's number.")],
    row: Annotated[int, typer.Argument(min=1, help="The row's number in the job.")],
    label: Annotated[str, typer.Argument(help="The right label.")],
    annotator: Annotator = None,
    json_: AsJson = False,
) -> None:
    """Say what a row's label should be; current_labels shows it at once."""
    from db.corrections import NewCorrection, add_corrections
    from training.corrections import MAX_NUMBER
    from training.user import current_user

    who = current_user() if annotator is None else annotator
    if max(job, row) > MAX_NUMBER:
        raise UsageError(f"there is no labelled row {row} in job {job}")
    with open_registry() as registry:
        given = NewCorrection(label=label.strip(), annotator=who, job=job, row=row)
        entered = add_corrections(registry.store, [given], skip_unchanged=False)
    if entered.refused:
        raise UsageError(entered.refused[0].reason)
    if json_:
        print_json({"job": job, "row": row, "label": label, "annotator": who})
    else:
        typer.echo(f"row {row} of job {job} is {label} now, says {who}")


@corrections.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet with label and external_id, or label, job and row; "
            "annotator if known."
        ),
    ],
    annotator: Annotator = None,
    job: Annotated[int | None, typer.Option(min=1, help="The job of lines that name none.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every line and write nothing.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Enter a file of corrections, all of it or nothing; a second time adds nothing."""
    from db.corrections import add_corrections
    from training.corrections import read_corrections
    from training.user import current_user

    if not file.is_file():
        raise UsageError(f"{file} is no file: check the path")
    who = current_user() if annotator is None else annotator
    given, unreadable = read_corrections(file, who, job)
    with open_registry() as registry:
        # What can be read is looked at too, so that every bad line is told at once.
        entered = add_corrections(registry.store, given, dry_run=dry_run or bool(unreadable))
    refused = sorted((*unreadable, *entered.refused), key=lambda each: each.place)
    lines = len(given) + len(unreadable)
    said: dict[str, Any] = {
        "file": str(file),
        "lines": lines,
        "added": 0 if refused else entered.added,
        "unchanged": entered.unchanged,
        "superseded": entered.superseded,
        "refused": len(refused),
        "dry_run": dry_run,
    }
    if json_:
        told = [{"line": each.place, "reason": each.reason} for each in refused[:TOLD_LINES]]
        print_json({**said, "errors": told})
    if refused:
        _tell(refused)
        raise UsageError(
            f"{len(refused):,} of {lines:,} lines of {file} cannot be entered, so none was: "
            "correct them and import the file again"
        )
    if not json_:
        verb = "would be added" if dry_run else "added"
        typer.echo(
            f"{said['added']:,} corrections {verb}, {said['unchanged']:,} were known, "
            f"{said['superseded']:,} are followed by another of the same row"
        )


def _tell(refused: "Sequence[RefusedCorrection]") -> None:
    for each in refused[:TOLD_LINES]:
        typer.echo(f"line {each.place}: {each.reason}", err=True)
    if len(refused) > TOLD_LINES:
        typer.echo(f"… and {len(refused) - TOLD_LINES:,} more", err=True)
