"""A database that is away for a moment costs no fit of hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from db.store import Store

Result = TypeVar("Result")


def patiently(store: Store, step: Callable[[], Result]) -> Result:
    """Run `step`, again while the database is away or full or may not be written, saying so once.

    Raises `ServiceUnavailable` when the patience of the settings is over.
    """
    return store.retrying(step, on_trouble=_warn)


def _warn(line: str) -> None:
    typer.echo(f"warning: {line}", err=True)
