"""The `training` command."""

import typer

from db.errors import run_command
from training.commands.build import build
from training.commands.comparing import compare
from training.commands.correcting import correct, corrections
from training.commands.evaluating import evaluate
from training.commands.fit import fit_command
from training.commands.promoting import promote, rollback, threshold
from training.commands.pruning import prune
from training.commands.registering import export, register
from training.commands.retrain import retrain
from training.commands.reviewing import review
from training.commands.versions import show, versions

app = typer.Typer(
    name="training",
    help="Fit, measure and promote the models that label text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("fit")(fit_command)
app.command()(retrain)
app.command()(evaluate)
app.command()(compare)
app.command()(register)
app.command()(build)
app.command()(export)
app.command()(versions)
app.command()(show)
app.command()(promote)
app.command()(rollback)
app.command()(threshold)
app.command()(prune)
app.command()(correct)
app.add_typer(corrections, name="corrections")
app.add_typer(review, name="review")


def main() -> None:
    """Run the command; the process ends with status 0, 1 or 2."""
    run_command(app)


if __name__ == "__main__":
    main()
