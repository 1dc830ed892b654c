"""A labelled data set of the Hugging Face hub, by its name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from db.errors import LabelstreamError, UsageError
from training.label_files import LABEL_COLUMN, TEXT_COLUMN, LabelFile, LabelledRow
from training.multi_label import LIST_COLUMN, multi_label_error

#: The splits in their order, with the file and hub names that each is known by.
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation"),
    "test": ("test",),
}


def read_hub(name: str) -> dict[str, LabelFile]:
    """Fetch the data set `name`, and return its splits.

    Raises LabelstreamError if it cannot be fetched, UsageError if it cannot be trained on.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # noqa: BLE001
        # The hub's client raises many kinds (HTTP, offline, gated, missing): one line for all.
        raise LabelstreamError(
            f"{name} is no file, and cannot be fetched as a data set of the hub "
            f"({type(error).__name__}): check --data and the connection"
        ) from None
    found: dict[str, LabelFile] = {}
    for split, names in SPLIT_NAMES.items():
        for candidate in names:
            if candidate in loaded:
                found[split] = split_rows(name, loaded[candidate])
    if "train" not in found:
        raise UsageError(f"data set {name} has no train split, it has: {', '.join(loaded)}")
    return found


def split_rows(name: str, split: Iterable[Mapping[str, object]]) -> LabelFile:
    """Return the rows of one split of the data set `name`, and its ClassLabel names.

    Raises UsageError for other columns than text and label, and for a list of labels a row.
    """
    features = getattr(split, "features", {})
    column = LABEL_COLUMN if LABEL_COLUMN in features else LIST_COLUMN
    if _is_sequence(features.get(column)):
        raise multi_label_error(f"data set {name}, column {column},", None)
    if not {TEXT_COLUMN, LABEL_COLUMN} <= set(features):
        columns = ", ".join(features)
        raise UsageError(f"data set {name} needs the columns text and label, it has: {columns}")
    names = getattr(features[LABEL_COLUMN], "names", None)
    rows = tuple(
        LabelledRow(str(row[TEXT_COLUMN]), row[LABEL_COLUMN], number)
        for number, row in enumerate(split, start=1)
    )
    return LabelFile(rows, tuple(names) if names else None)


def _is_sequence(feature: object) -> bool:
    # Sequence and List name what they hold; a plain list of one feature is the older way.
    return isinstance(feature, list) or getattr(feature, "feature", None) is not None
