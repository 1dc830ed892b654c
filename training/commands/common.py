"""What several commands of `training` share: the open registry, and what is printed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from db.registry.artifacts import ArtifactStore
    from db.settings import Settings
    from db.store import Store


VersionArgument = Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="A version.")]


@dataclass(frozen=True)
class Registry:
    """The registry that the settings name: its rows and its files."""

    settings: "Settings"
    store: "Store"
    artifacts: "ArtifactStore"


@contextmanager
def open_registry() -> Iterator[Registry]:
    """Open the registry of the settings, with its tables and the starter model in place."""
    from db.registry.artifacts import artifact_store
    from db.settings import get_settings
    from db.store import open_store
    from worker.preparing import make_ready

    settings = get_settings()
    store = open_store(settings)
    try:
        make_ready(store, settings)
        yield Registry(settings, store, artifact_store(settings))
    finally:
        store.close()


def print_json(content: object) -> None:
    """Print one JSON value on stdout."""
    import orjson

    typer.echo(orjson.dumps(content))


def print_lines(lines: list[str]) -> None:
    """Print lines on stdout."""
    for line in lines:
        typer.echo(line)
