"""A version made ready for the engine of CPUs, from its own probe texts or from labelled data."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.errors import UsageError
from training.user import current_user
from worker.int8.building import CALIBRATION_TEXTS, Checked, build_from_probes, build_version
from worker.probes import PROBE_FILE

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.data import LabelledData
    from training.registry import Registry

#: Which texts of the data calibrate is drawn by it, so that the same data gives the same build.
_SEED = 42


@dataclass(frozen=True)
class Texts:
    """What a build is made from and checked on; `truth` are the label ids of `check`."""

    calibration: list[str]
    check: list[str]
    truth: list[int]


def build(registry: Registry, version: Version, data: LabelledData | None) -> Checked:
    """Make a build of `version` for this machine's processor, and record it.

    Calibrated on texts of the training split and checked on those of validation and test; without
    `data`, on the texts that the version keeps. Raises `UsageError` where it keeps none.
    """
    store, settings, who = registry.store, registry.settings, current_user()
    if data is not None:
        texts = data_texts(version, data)
        return build_version(
            store, settings, version, texts.calibration, texts.check, texts.truth, who=who
        )
    made = build_from_probes(store, settings, version, who=who)
    if made is None:
        raise UsageError(
            f"model {version} keeps no texts to calibrate with (no {PROBE_FILE} in its folder): "
            "give --data"
        )
    return made


def data_texts(version: Version, data: LabelledData) -> Texts:
    """Return texts of the training split, and those of validation and test with their labels."""
    ids = {label: number for number, label in enumerate(version.labels)}
    if unknown := sorted(set(data.labels) - set(ids)):
        raise UsageError(
            f"{data.name} has the label {unknown[0]!r}, which model {version} does not know "
            f"({', '.join(version.labels)}): give the data it was fitted on"
        )
    drawn = random.Random(_SEED).sample(  # noqa: S311  (no secret)
        data.train.texts, min(CALIBRATION_TEXTS, len(data.train.texts))
    )
    rest = [split for split in (data.validation, data.test) if split is not None]
    return Texts(
        drawn,
        [text for split in rest for text in split.texts],
        [ids[data.labels[label]] for split in rest for label in split.label_ids],
    )
