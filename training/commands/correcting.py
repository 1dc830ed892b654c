"""`training correct` and `training corrections import`: people's labels for rows."""

from pathlib import Path
from typing import Annotated, Any

import typer

from db.errors import UsageError
from training.commands.common import print_json
from training.commands.entering import enter
from training.registry import open_registry

Annotator = Annotated[str | None, typer.Option(help="Who says so; by default you.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

corrections = typer.Typer(
    help="Corrections of many rows at once.", no_args_is_help=True, rich_markup_mode=None
)


def correct(
    job: Annotated[int, typer.Argument(min=1, help="The job's number.")],
    row: Annotated[int, typer.Argument(min=1, help="The row's number in the job.")],
    label: Annotated[str | None, typer.Argument(help="The right label.")] = None,
    withdrawn: Annotated[
        bool, typer.Option("--withdraw", help="Take back what was said of the row before.")
    ] = False,
    annotator: Annotator = None,
    json_: AsJson = False,
) -> None:
    """Say what a row's label should be, or take that back; current_labels shows it at once."""
    from db.corrections import NewCorrection, add_corrections, withdraw
    from training.corrections import MAX_NUMBER
    from training.user import current_user

    if (label is None) != withdrawn:
        raise UsageError("give the right label, or --withdraw to take back the one given before")
    who = current_user() if annotator is None else annotator
    if max(job, row) > MAX_NUMBER:
        raise UsageError(f"there is no labelled row {row} in job {job}")
    said: dict[str, Any] = {"job": job, "row": row, "label": label, "annotator": who}
    with open_registry() as registry:
        if label is None:
            said["withdrawn"] = withdraw(registry.store, job, row, who)
        else:
            given = NewCorrection(label=label.strip(), annotator=who, job=job, row=row)
            entered = add_corrections(registry.store, [given], skip_unchanged=False)
            if entered.refused:
                raise UsageError(entered.refused[0].reason)
    if json_:
        print_json(said)
    elif label is not None:
        typer.echo(f"row {row} of job {job} is {label} now, says {who}")
    elif said["withdrawn"]:
        typer.echo(f"{who} says nothing of row {row} of job {job} any more")
    else:
        typer.echo(f"{who} had said nothing of row {row} of job {job}: nothing was withdrawn")


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
    from training.corrections import read_corrections
    from training.user import current_user

    if not file.is_file():
        raise UsageError(f"{file} is no file: check the path")
    who = current_user() if annotator is None else annotator
    given, unreadable = read_corrections(file, who, job)
    enter(file, given, unreadable, dry_run=dry_run, json_=json_)
