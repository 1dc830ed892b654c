"""The data of a retrain: the original rows, and what people corrected since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from db.errors import UsageError
from db.text import text_key
from training.data import LabelledData, Split, with_splits

if TYPE_CHECKING:
    from db.corrections import TextCorrection


@dataclass(frozen=True, slots=True)
class CorrectionCounts:
    """What became of the corrections, by their texts."""

    #: Training texts that have another label now.
    relabelled: int
    #: Training texts whose label the correction confirms.
    confirmed: int
    #: Texts that were not in the training split, and are now.
    added: int
    #: Texts that stand in the validation or test split, so that nothing is fitted on them.
    held_out: int
    #: Corrected rows whose text was not stored.
    without_text: int
    #: Rows of the original training split that stand in validation or test too: left out.
    overlapping: int

    def notes(self) -> tuple[str, ...]:
        """Sentences for the model card."""
        used = self.relabelled + self.confirmed + self.added
        notes = [
            (
                f"{used} corrected texts: {self.relabelled} with another label than before, "
                f"{self.confirmed} confirmed, {self.added} new."
            )
        ]
        for count, why in (
            (self.held_out, "corrected texts stand in validation or test and were left out"),
            (self.without_text, "corrected rows have no stored text and were left out"),
            (self.overlapping, "training rows stand in validation or test too and were left out"),
        ):
            if count:
                notes.append(f"{count} {why}.")
        return tuple(notes)

    def record(self) -> dict[str, int]:
        """Return the counts as JSON holds them."""
        return asdict(self)


def corrected_data(
    data: LabelledData, corrections: Mapping[str, TextCorrection], without_text: int = 0
) -> tuple[LabelledData, CorrectionCounts]:
    """Return `data` with `corrections` (by the text's key) in its training split, and the counts.

    A correction outranks the label of the data. No text of the validation or test split, white
    space apart, is in the training split that is returned. Raises UsageError for a correction
    whose label the data does not have, or if nothing is left to train on.
    """
    held_out = {
        text_key(text)
        for split in (data.validation, data.test)
        if split is not None
        for text in split.texts
    }
    usable = {key: one for key, one in corrections.items() if key not in held_out}
    ids = {label: i for i, label in enumerate(data.labels)}
    for one in usable.values():
        if one.label not in ids:
            raise UsageError(
                f"a row was corrected to {one.label!r}, which {data.name} does not have among its "
                f"labels ({', '.join(data.labels)}): add rows of it, or name it in --labels"
            )
    texts: list[str] = []
    label_ids: list[int] = []
    relabelled: set[str] = set()
    met: set[str] = set()
    overlapping = 0
    for text, label_id in zip(data.train.texts, data.train.label_ids, strict=True):
        key = text_key(text)
        if key in held_out:
            overlapping += 1
            continue
        if key in usable:
            met.add(key)
            corrected = ids[usable[key].label]
            if corrected != label_id:
                relabelled.add(key)
            label_id = corrected
        texts.append(text)
        label_ids.append(label_id)
    # In an order of their own, so that the same corrections give the same fit.
    new = sorted(usable.keys() - met)
    texts += [usable[key].text for key in new]
    label_ids += [ids[usable[key].label] for key in new]
    if not texts:
        raise UsageError(
            f"every training row of {data.name} stands in validation or test too: give a training "
            "split of its own"
        )
    counts = CorrectionCounts(
        relabelled=len(relabelled),
        confirmed=len(met) - len(relabelled),
        added=len(new),
        held_out=len(corrections) - len(usable),
        without_text=without_text,
        overlapping=overlapping,
    )
    split = Split(tuple(texts), tuple(label_ids))
    corrected_split = with_splits(data, split, data.validation, data.test)
    return replace(corrected_split, notes=(*data.notes, *counts.notes())), counts
