"""What several commands of `training` share: arguments, and how things are printed."""

from typing import Annotated

import typer

VersionArgument = Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="A version.")]


def print_json(content: object) -> None:
    """Print one JSON value on stdout."""
    import orjson

    typer.echo(orjson.dumps(content))


def print_lines(lines: list[str]) -> None:
    """Print lines on stdout."""
    for line in lines:
        typer.echo(line)
