"""`training promote`, `training rollback` and `training threshold`: what serves, and how."""

from typing import Annotated

import typer

from db.errors import UsageError
from db.registry.names import DEFAULT_ALIAS
from training.commands.common import VersionArgument, print_json
from training.registry import open_registry

Alias = Annotated[str, typer.Option(help="The name that points to the version.")]
Why = Annotated[str | None, typer.Option(help="The reason, kept with the event.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def promote(
    version: VersionArgument,
    alias: Alias = DEFAULT_ALIAS,
    why: Why = None,
    json_: AsJson = False,
) -> None:
    """Let a version serve: workers change over within seconds, nothing stops."""
    from db.registry.aliases import list_aliases
    from db.registry.aliases import promote as point
    from db.registry.names import parse_numbered
    from db.registry.versions import resolve
    from training.user import current_user

    reference = parse_numbered(version)
    with open_registry() as registry:
        found = resolve(registry.store, reference)
        # What cannot be loaded is found out here, not by the workers.
        registry.artifacts.check(found.adapter, found.adapter_sha256)
        before = list_aliases(registry.store).get((found.model, alias))
        moved = point(
            registry.store, found.model, found.version, who=current_user(), why=why, alias=alias
        )
    if json_:
        print_json(
            {
                "model": found.model,
                "alias": alias,
                "version": found.version,
                "from_version": before,
                "changed": moved,
            }
        )
    elif moved:
        came = f" (was {before})" if before is not None else ""
        typer.echo(f"{found.model}@{alias} is version {found.version} now{came}")
    else:
        typer.echo(f"{found.model}@{alias} is version {found.version} already")


def rollback(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Alias = DEFAULT_ALIAS,
    why: Why = None,
    json_: AsJson = False,
) -> None:
    """Go back to the version that was promoted before; again, and one further back."""
    from db.registry.aliases import rollback as go_back
    from training.user import current_user

    if ":" in model or "@" in model:
        raise UsageError(f"rollback takes a model's name, not {model}: an alias goes by --alias")
    with open_registry() as registry:
        before, now = go_back(registry.store, model, who=current_user(), why=why, alias=alias)
    if json_:
        print_json({"model": model, "alias": alias, "version": now, "from_version": before})
    else:
        typer.echo(f"{model}@{alias} is version {now} again (was {before})")


def threshold(
    version: VersionArgument,
    value: Annotated[
        str, typer.Argument(help="Confidence (0 to 1) below which a row is marked unsure; none.")
    ],
    json_: AsJson = False,
) -> None:
    """Set from which confidence on a version is sure; rows labelled from now on are marked."""
    from db.registry.names import parse_numbered
    from db.registry.versions import resolve, set_unsure_below
    from training.user import current_user

    reference = parse_numbered(version)
    below = _share(value)
    with open_registry() as registry:
        found = resolve(registry.store, reference)
        set_unsure_below(registry.store, found, below, who=current_user())
    if json_:
        print_json({"model": found.model, "version": found.version, "unsure_below": below})
    elif below is None:
        typer.echo(f"{found} marks no row unsure")
    else:
        typer.echo(f"{found} marks rows with a confidence below {below:g} unsure")


def _share(value: str) -> float | None:
    if value == "none":
        return None
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{value} is no confidence: give a number from 0 to 1, or none")
    return share
