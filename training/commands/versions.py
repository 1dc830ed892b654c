"""`training versions` and `training show`."""

from typing import Annotated

import typer

from training.commands.common import print_json, print_lines
from training.registry import open_registry


def versions(
    model: Annotated[str | None, typer.Argument(help="Only this model's.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """List the registered versions: aliases, figures, bases, terms."""
    from db.errors import RegistryError
    from training.listing import version_lines, version_records

    with open_registry() as registry:
        records = version_records(registry.store, model)
    if model is not None and not records:
        raise RegistryError(f"there is no model {model}: see training versions")
    print_json(records) if json_ else print_lines(version_lines(records))


def show(
    version: Annotated[
        str, typer.Argument(metavar="MODEL:VERSION", help="A version, or MODEL@ALIAS.")
    ],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what is known of one version: figures per label, data, terms, files."""
    from db.registry.names import parse_ref
    from db.registry.versions import find_version
    from training.listing import detail_lines, version_detail

    with open_registry() as registry:
        found = find_version(registry.store, parse_ref(version))
        detail = version_detail(registry.store, found, registry.artifacts)
    print_json(detail) if json_ else print_lines(detail_lines(detail))
