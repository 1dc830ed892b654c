"""`training compare`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import print_json, print_lines
from training.commands.making import AsJson
from training.registry import open_registry

if TYPE_CHECKING:
    from training.flips import Flip

#: Flips that are shown, and characters of each text.
SHOWN_FLIPS, SHOWN_CHARACTERS = 20, 80


def compare(
    before: Annotated[str, typer.Argument(metavar="A", help="A version, as MODEL:VERSION.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    job: Annotated[int, typer.Option(min=1, help="The job whose rows are labelled by both.")],
    sample: Annotated[int, typer.Option(min=1, help="Rows, chosen at random.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Fixes which rows.")] = 0,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Show the texts.")] = True,
    json_: AsJson = False,
) -> None:
    """Label rows of a job by two versions: how many labels would flip, from what to what."""
    from db.registry.names import parse_ref
    from db.registry.versions import resolve
    from training.evaluation import registered
    from training.flips import find_flips, flip_counts, sample_texts

    with open_registry() as registry:
        one = resolve(registry.store, parse_ref(before))
        other = resolve(registry.store, parse_ref(after))
        rows = sample_texts(registry.store, job, sample, seed)
        with (
            registered(str(one), registry.settings) as old,
            registered(str(other), registry.settings) as new,
        ):
            flips = find_flips(rows, old, new)
    counts = flip_counts(flips)
    if json_:
        shown = [asdict(flip) for flip in flips[:SHOWN_FLIPS]]
        print_json(
            {
                "before": str(one),
                "after": str(other),
                "job": job,
                "rows": len(rows),
                "flips": len(flips),
                "from_to": [
                    {"before": was, "after": now, "rows": count} for was, now, count in counts
                ],
                "most_confident": [flip if text else {**flip, "text": None} for flip in shown],
            }
        )
        return
    typer.echo(
        f"{len(flips):,} of {len(rows):,} rows of job {job} would flip "
        f"({len(flips) / len(rows):.2%}) from {one} to {other}"
    )
    if flips:
        print_lines(_tables(flips, counts, text))


def _tables(flips: "list[Flip]", counts: list[tuple[str, str, int]], text: bool) -> list[str]:
    from training.tables import aligned

    lines = ["", *aligned([("from", "to", "rows"), *((a, b, f"{n:,}") for a, b, n in counts)])]
    header = ("row", "from", "confidence", "to", "confidence", "text")
    shown = [
        (
            str(flip.row),
            flip.before,
            f"{flip.before_confidence:.4f}",
            flip.after,
            f"{flip.after_confidence:.4f}",
            _one_line(flip.text) if text else "",
        )
        for flip in flips[:SHOWN_FLIPS]
    ]
    return [*lines, "", "the most confident flips:", *aligned([header, *shown])]


def _one_line(text: str) -> str:
    # What steers a terminal does not reach it.
    plain = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    return plain[:SHOWN_CHARACTERS] + ("…" if len(plain) > SHOWN_CHARACTERS else "")
