"""`training prune`."""

from typing import Annotated

import typer

from training.commands.common import print_json
from training.registry import open_registry


def prune(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    keep: Annotated[int, typer.Option(min=1, help="Newest versions that keep their files.")],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Remove the files of old versions; never of one that an alias or an unfinished job needs."""
    from db.registry.orphans import sweep_orphans
    from db.registry.pruning import prune as prune_versions
    from training.user import current_user

    with open_registry() as registry:
        done = prune_versions(
            registry.store, registry.artifacts, model, keep=keep, who=current_user()
        )
        orphans = sweep_orphans(registry.store, registry.artifacts)
    if json_:
        kept = {str(number): reason for number, reason in done.kept.items()}
        print_json({"model": model, "pruned": done.gone, "kept": kept, "orphans": len(orphans)})
        return
    for number, reason in sorted(done.kept.items()):
        typer.echo(f"{model}:{number} stays: {reason}")
    gone = ", ".join(f"{model}:{number}" for number in done.gone) or "no version"
    left = f"; {len(orphans)} folders that belonged to nothing were removed" if orphans else ""
    typer.echo(f"pruned: {gone}{left}")
