"""The texts that a version keeps, so that it can be made ready for an engine wherever it comes to."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: In the version's folder, one text a line.
PROBE_FILE = "probe_texts.txt"

#: How many a version keeps, at most.
PROBES = 500

#: The first so many in five show what the model reads, the rest check what came of it.
_CALIBRATION_FIFTHS = 3

#: Which texts of the data are kept is drawn by it, so that the same data gives the same files.
_SEED = 42


@dataclass(frozen=True)
class Probes:
    """Texts to calibrate with, and others to check on."""

    calibration: tuple[str, ...]
    check: tuple[str, ...]


def read_probes(folder: Path) -> Probes | None:
    """Return the probe texts in `folder`; None if it has none, or too few for both."""
    try:
        texts = (folder / PROBE_FILE).read_text(encoding="utf-8").rstrip("\n").split("\n")
    except FileNotFoundError:
        return None
    first = len(texts) * _CALIBRATION_FIFTHS // 5
    return Probes(tuple(texts[:first]), tuple(texts[first:])) if first else None


def write_probes(folder: Path, texts: Sequence[str]) -> None:
    """Keep up to 500 of `texts` in `folder`, each on a line: white space becomes one space."""
    drawn = random.Random(_SEED).sample(  # noqa: S311  (no secret)
        list(texts), min(PROBES, len(texts))
    )
    lines = "".join(f"{' '.join(text.split())}\n" for text in drawn)
    (folder / PROBE_FILE).write_text(lines, encoding="utf-8")
