"""A labelled data set in memory: its splits, label names, fingerprint and what to know about it."""

from __future__ import annotations

import hashlib
import json
import numbers
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import UsageError
from training.hub_data import SPLIT_NAMES, read_hub
from training.label_files import SUFFIXES, LabelFile, LabelledRow, read_label_file
from training.multi_label import holds_several, multi_label_error
from training.store_data import parse_store_rows, read_store_rows

if TYPE_CHECKING:
    from db.store import Store

#: Kinds of characters that a label's name cannot hold: controls, halves of surrogate pairs.
_NO_LABEL_CHARACTERS = {"Cc", "Cs"}

#: Of a data set without a validation split, about one text in so many is held out for it.
HELD_OUT_ONE_IN = 10

#: More labels than this, and than a tenth of the rows, cannot be meant.
MAX_LABELS = 50
MAX_LABELS_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Split:
    """Texts and their label ids, two tuples of one length."""

    texts: tuple[str, ...]
    label_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelledData:
    """A data set to train on: label names (the id is the place), splits, fingerprint, notes.

    `name` is the hub's, or the file's or folder's without its path. `test` is None if the data has none. `notes` are sentences for the model card.
    """

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    fingerprint: str
    notes: tuple[str, ...]


def read_data(
    source: str, labels: Sequence[str] | None = None, store: Store | None = None
) -> LabelledData:
    """Read a label file, a folder of train/val/test files, a data set of the hub, or `job:12`.

    `labels` fixes the order of the label names; else a ClassLabel feature does, or the version
    that labelled the job; else they are the distinct values, sorted. The rows of a job are read
    from `store`, by default the one of the settings. Raises UsageError for data that cannot be
    trained on.
    """
    files = _read_splits(source, store)
    for name, file in files.items():
        _check_labels(source, name, file.rows)
    rows = {name: [row for row in file.rows if row.text.strip()] for name, file in files.items()}
    blank = sum(len(file.rows) for file in files.values()) - sum(map(len, rows.values()))
    notes = [f"{blank} rows without text were left out."] if blank else []
    if "validation" not in rows:
        rows["train"], rows["validation"] = _held_out(rows["train"])
        notes.append(
            f"No validation split was given: about one text in {HELD_OUT_ONE_IN}, "
            "chosen by the text's SHA-256, was held out for it."
        )
    if empty := [name for name, split in rows.items() if not split]:
        raise UsageError(f"{source} has no rows for {empty[0]}: give more data, or that split")
    declared = labels or files["train"].names
    names = label_names([row.label for row in rows["train"]], declared)
    splits = {name: _encode(name, split, names, source) for name, split in rows.items()}
    return LabelledData(
        name=Path(source).name if Path(source).exists() else source,
        labels=names,
        train=splits["train"],
        validation=splits["validation"],
        test=splits.get("test"),
        fingerprint=fingerprint(splits, names),
        notes=(*notes, *overlap_notes(splits)),
    )


def label_names(values: Sequence[object], declared: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the label names, in the order of their ids, for the training rows' labels.

    `declared` names win (a ClassLabel feature's, or the user's); integer labels are then ids
    into them. Otherwise: the distinct values, numbers by size, text by code point. Raises
    UsageError when labels are objects instead of plain values, or are too many: labels that are
    tensors compare by identity, so every row would become a class of its own.
    """
    for value in values:
        if not _is_plain(value):
            raise UsageError(
                f"labels are {type(value).__name__} objects, not plain values: every row would be "
                "a class of its own; convert them to text or integers (tensor.item())"
            )
    distinct = set(values)
    most = max(MAX_LABELS, int(MAX_LABELS_SHARE * len(values)))
    if len(distinct) > most:
        raise UsageError(
            f"{len(distinct)} different labels in {len(values)} rows (at most {most}): are the "
            "labels tensors, objects or free text instead of plain values?"
        )
    if declared is not None:
        names = tuple(declared)
        if len(set(names)) < len(names):
            raise UsageError("the label names given are not distinct: check --labels")
    elif len(integers := [v for v in distinct if isinstance(v, numbers.Integral)]) == len(distinct):
        names = tuple(str(value) for value in sorted(map(int, integers)))
    else:
        names = tuple(sorted({str(value) for value in distinct}))
    if odd := [name for name in names if not _is_storable(name)]:
        raise UsageError(f"label {odd[0]!r} holds control characters: clean the labels")
    if len(names) < 2:
        raise UsageError(f"only {len(names)} label in the data: at least 2 are needed")
    return names


def with_label_order(data: LabelledData, labels: Sequence[str]) -> LabelledData:
    """Return `data` with its label names, which must be those of `labels`, in that order."""
    if sorted(labels) != sorted(data.labels):
        raise ValueError(f"{data.labels} are other labels than {labels}")
    ids = [list(labels).index(label) for label in data.labels]

    def moved(split: Split) -> Split:
        return Split(split.texts, tuple(ids[label_id] for label_id in split.label_ids))

    return with_splits(
        replace(data, labels=tuple(labels)),
        moved(data.train),
        moved(data.validation),
        moved(data.test) if data.test else None,
    )


def with_splits(
    data: LabelledData, train: Split, validation: Split, test: Split | None
) -> LabelledData:
    """Return `data` with other splits, and the fingerprint that goes with them."""
    splits = {"train": train, "validation": validation} | ({"test": test} if test else {})
    return replace(
        data,
        train=train,
        validation=validation,
        test=test,
        fingerprint=fingerprint(splits, data.labels),
    )


def fingerprint(splits: Mapping[str, Split], labels: Sequence[str]) -> str:
    """Return the SHA-256 over the label names and all rows as sorted JSON lines: in any order."""
    lines = sorted(
        json.dumps([name, text, labels[label_id]])
        for name, split in splits.items()
        for text, label_id in zip(split.texts, split.label_ids, strict=True)
    )
    digest = hashlib.sha256(json.dumps(list(labels)).encode())
    for line in lines:
        digest.update(b"\n" + line.encode())
    return digest.hexdigest()


def overlap_notes(splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Return sentences on texts that occur twice in train, and on those it shares with other splits."""
    counts = Counter(splits["train"].texts)
    twice = sum(1 for count in counts.values() if count > 1)
    others = {text for name in splits if name != "train" for text in splits[name].texts}
    shared = len(others & counts.keys())
    notes = []
    if twice:
        notes.append(f"{twice} texts of the training split occur more than once in it.")
    if shared:
        notes.append(f"{shared} texts of the training split also occur in validation or test.")
    return tuple(notes)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | numbers.Integral)


def _is_storable(name: str) -> bool:
    return not any(unicodedata.category(each) in _NO_LABEL_CHARACTERS for each in name)


def _check_labels(source: str, split: str, rows: Sequence[LabelledRow]) -> None:
    for row in rows:
        where = f"{source}, {split} row {row.place}"
        if holds_several(row.label):
            raise multi_label_error(where, row.label)
        if row.label is None or row.label == "":
            raise UsageError(f"{where} has no label: give it one, or leave the row out")


def _read_splits(source: str, store: Store | None) -> dict[str, LabelFile]:
    if (wanted := parse_store_rows(source)) is not None:
        return {"train": read_store_rows(wanted, store)}
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if path.exists():
        return {"train": read_label_file(path)}
    # A hub name is "name" or "owner/name"; anything else was meant as a path.
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or source.startswith((".", "~")):
        raise UsageError(f"{source} does not exist: check --data")
    return read_hub(source)


def _read_folder(folder: Path) -> dict[str, LabelFile]:
    found: dict[str, LabelFile] = {}
    for split, stems in SPLIT_NAMES.items():
        candidates = [
            folder / f"{stem}{suffix}"
            for stem in stems
            for suffix in SUFFIXES
            if (folder / f"{stem}{suffix}").is_file()
        ]
        if len(candidates) > 1:
            names = " and ".join(path.name for path in candidates[:2])
            raise UsageError(f"{folder} holds {names}: keep one file a split")
        if candidates:
            found[split] = read_label_file(candidates[0])
    if "train" not in found:
        endings = ", ".join(SUFFIXES)
        raise UsageError(f"{folder} holds no train file ({endings}): name one train.*")
    return found


def _held_out(rows: Sequence[LabelledRow]) -> tuple[list[LabelledRow], list[LabelledRow]]:
    """Split into train and validation rows; equal texts always fall on the same side."""
    train: list[LabelledRow] = []
    validation: list[LabelledRow] = []
    for row in rows:
        digest = hashlib.sha256(row.text.encode("utf-8", "surrogatepass")).digest()
        held_out = int.from_bytes(digest[:8]) % HELD_OUT_ONE_IN == 0
        (validation if held_out else train).append(row)
    return train, validation


def _encode(name: str, rows: Sequence[LabelledRow], labels: Sequence[str], source: str) -> Split:
    ids = {label: i for i, label in enumerate(labels)}
    encoded = []
    for row in rows:
        label_id = ids.get(str(row.label)) if _is_plain(row.label) else None
        if label_id is None and isinstance(row.label, numbers.Integral):
            label_id = int(row.label) if 0 <= int(row.label) < len(labels) else None
        if label_id is None:
            raise UsageError(
                f"{source}, {name} row {row.place}: its label is not one of {', '.join(labels)}: "
                "check the file, or --labels"
            )
        encoded.append(label_id)
    return Split(tuple(row.text for row in rows), tuple(encoded))
