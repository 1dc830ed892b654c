"""What is entered in the log of corrections, and what became of it."""

from dataclasses import dataclass

#: How a row was chosen when somebody answered for it; null: in another way, or nobody knows.
RANDOM = "random"
STRATEGIES = ("uncertain", RANDOM, "stratified", "search")


@dataclass(frozen=True, slots=True)
class NewCorrection:
    """A label for the row `row` of `job`, or for the row with `external_id` (of `job`, if given)."""

    label: str
    annotator: str
    job: int | None = None
    row: int | None = None
    external_id: str | None = None
    #: How the hash of the row's text begins; None: whatever text it has.
    text_key: str | None = None
    #: Where it stands in its file, from 1.
    place: int = 1
    #: How the row was chosen: one of `STRATEGIES`, or None.
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedCorrection:
    """Why the correction at `place` cannot be entered."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of some corrections: nothing was written if any was refused."""

    added: int
    #: Equal to the newest one of that row by the same annotator.
    unchanged: int
    #: Followed by another of the same row and annotator among those given.
    superseded: int
    refused: tuple[RefusedCorrection, ...]
