"""Entering a file's corrections, all of them or none, and saying what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from db.errors import UsageError
from training.commands.common import print_json
from training.registry import open_registry

if TYPE_CHECKING:
    from db.corrections import NewCorrection, RefusedCorrection

#: Lines with errors that are told one by one.
TOLD_LINES = 20


def enter(
    file: Path,
    given: Sequence[NewCorrection],
    unreadable: Sequence[RefusedCorrection],
    *,
    dry_run: bool,
    json_: bool,
    place: str = "line",
    counts: Mapping[str, int] | None = None,
) -> None:
    """Enter what a file has `given`, unless some of it was `unreadable` or is refused.

    `place` is what the number of each is called, and `counts` is told besides. Raises `UsageError`
    where nothing was entered for what is wrong with the file.
    """
    from db.corrections import add_corrections

    with open_registry() as registry:
        # What can be read is looked at too, so that every bad line is told at once.
        entered = add_corrections(registry.store, given, dry_run=dry_run or bool(unreadable))
    refused = sorted((*unreadable, *entered.refused), key=lambda each: each.place)
    total = len(given) + len(unreadable)
    said: dict[str, Any] = {
        "file": str(file),
        f"{place}s": total,
        "added": 0 if refused else entered.added,
        "unchanged": entered.unchanged,
        "superseded": entered.superseded,
        "refused": len(refused),
        **(counts or {}),
        "dry_run": dry_run,
    }
    if json_:
        told = [{place: each.place, "reason": each.reason} for each in refused[:TOLD_LINES]]
        print_json({**said, "errors": told})
    if refused:
        _tell(refused, place)
        raise UsageError(
            f"{len(refused):,} of {total:,} {place}s of {file} cannot be entered, so none was: "
            "correct them and import the file again"
        )
    if not json_:
        verb = "would be added" if dry_run else "added"
        more = "".join(f", {count:,} {name}" for name, count in (counts or {}).items())
        typer.echo(
            f"{said['added']:,} corrections {verb}, {said['unchanged']:,} were known, "
            f"{said['superseded']:,} are followed by another of the same row{more}"
        )


def _tell(refused: Sequence[RefusedCorrection], place: str) -> None:
    for each in refused[:TOLD_LINES]:
        typer.echo(f"{place} {each.place}: {each.reason}", err=True)
    if len(refused) > TOLD_LINES:
        typer.echo(f"… and {len(refused) - TOLD_LINES:,} more", err=True)
