"""`training review`: rows for people to look at in the tool that they have, and their answers back."""

from pathlib import Path
from typing import Annotated

import typer

from db.errors import UsageError
from training.commands.auditing import accuracy
from training.commands.common import print_json
from training.commands.correcting import Annotator, AsJson
from training.commands.entering import enter
from training.registry import open_registry
from training.review.names import Strategy, Tool

review = typer.Typer(
    help="Let people look at rows in the tool that they have.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@review.command("export")
def export(
    job: Annotated[int, typer.Argument(min=1, help="The job's number.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    strategy: Annotated[
        Strategy,
        typer.Option(
            help="uncertain: the least confident first; random: an audit, which tells how often the "
            "model is right; stratified: as many of each label."
        ),
    ] = Strategy.UNCERTAIN,
    format_: Annotated[Tool, typer.Option("--format", help="The tool that reads it.")] = Tool.CSV,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows at the most.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of random and stratified.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    json_: AsJson = False,
) -> None:
    """Write rows that nobody has corrected yet, with the model's label; or any, for an audit."""
    from training.review.picking import pick
    from training.review.tools import write

    with open_registry() as registry:
        picked = pick(registry.store, job, strategy, rows, seed)
    written = write(picked, format_, file, force=force)
    if json_:
        print_json(
            {
                "job": job,
                "strategy": picked.strategy,
                "rows": len(picked.rows),
                "files": [str(path) for path in written],
            }
        )
        return
    typer.echo(f"{len(picked.rows):,} rows of job {job} are in {file}")
    for path in written[1:]:
        typer.echo(f"the labelling interface for them is in {path}")


@review.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="What the tool has exported: Label Studio's JSON or JSON-MIN, Argilla's records, "
            "Prodigy's JSONL, or the CSV."
        ),
    ],
    annotator: Annotator = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every answer and write nothing.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Enter the answers as corrections, all of them or nothing; a second time adds nothing."""
    from training.review.tools import read
    from training.user import current_user

    if not file.is_file():
        raise UsageError(f"{file} is no file: check the path")
    answers = read(file, current_user() if annotator is None else annotator)
    enter(
        file,
        answers.given,
        answers.refused,
        dry_run=dry_run,
        json_=json_,
        place="answer",
        counts={"skipped": answers.skipped},
    )


review.command()(accuracy)
