"""The texts that a version keeps, so that it can be made ready for an engine wherever it comes to."""

from dataclasses import dataclass
from pathlib import Path

#: In the version's folder, one text a line.
PROBE_FILE = "probe_texts.txt"

#: The first so many show what the model reads, the rest check what came of it.
CALIBRATION_PROBES = 300


@dataclass(frozen=True)
class Probes:
    """Texts to calibrate with, and others to check on."""

    calibration: tuple[str, ...]
    check: tuple[str, ...]


def read_probes(folder: Path) -> Probes | None:
    """Return the probe texts in `folder`; None if it has none."""
    try:
        texts = (folder / PROBE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return Probes(tuple(texts[:CALIBRATION_PROBES]), tuple(texts[CALIBRATION_PROBES:]))
