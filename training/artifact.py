"""Write a finished fit as a folder: PEFT adapter, label names, metadata, model card."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import UsageError
from db.settings import Settings, get_settings
from training.data import LabelledData, Split
from training.describing import FORMAT_VERSION, measure_into, pretty, writing
from training.fit import Fit
from training.fit_config import RECORDED_ABOVE
from training.measuring import Measured
from training.model_card import model_card

if TYPE_CHECKING:
    from db.registry.versions import Version

#: Libraries whose versions decide what a fit gives.
RECORDED_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What only the user knows: the model's name, the data's name, terms, language, notes."""

    model: str
    data_name: str
    license: str
    language: str
    notes: tuple[str, ...] = ()
    #: The version that this one is to follow.
    parent_version: int | None = None


def check_out(out: Path) -> None:
    """Raise UsageError unless `out` is absent or an empty folder (asked before hours of work)."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty: give another --out, or remove it")


def write_adapter(
    fit: Fit,
    data: LabelledData,
    provenance: Provenance,
    out: Path,
    settings: Settings | None = None,
    *,
    champion: Version | None = None,
    mistakes: bool = True,
) -> Measured:
    """Write the adapter folder `out` (made if absent), measured by torch.

    Files: adapter_model.safetensors, adapter_config.json, config.json (id2label and label2id),
    labelstream.json, README.md, report.html, probe_texts.txt. `champion` is the version to compare it with;
    without `mistakes` no file holds a text of the data. Raises UsageError when the folder cannot
    be written.
    """
    content = metadata(fit, data, provenance)
    with writing(out):
        _save(fit, out)
        measured = measure_into(
            content, out, data, settings or get_settings(), champion=champion, mistakes=mistakes
        )
        (out / "README.md").write_text(model_card(content), encoding="utf-8")
    return measured


def _save(fit: Fit, out: Path) -> None:
    config = json.loads(fit.model.config.to_json_string())
    # A local path: the base is named in the adapter's configuration.
    config.pop("_name_or_path", None)
    config["architectures"] = [type(fit.model.get_base_model()).__name__]
    out.mkdir(parents=True, exist_ok=True)
    # "auto" would ask the hub whether the base's vocabulary was changed.
    fit.model.save_pretrained(str(out), save_embedding_layers=False)
    (out / "config.json").write_text(pretty(config), encoding="utf-8")


def metadata(fit: Fit, data: LabelledData, provenance: Provenance) -> dict[str, Any]:
    """Return what is known of a fit before it is measured, as labelstream.json holds it."""
    import torch

    hyper_parameters = asdict(fit.config)
    for name in RECORDED_ABOVE:
        del hyper_parameters[name]
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "format_version": FORMAT_VERSION,
        "model": provenance.model,
        "base": fit.base.name,
        "base_revision": fit.base.revision,
        "base_sha256": fit.base.sha256,
        "labels": list(data.labels),
        "max_length": fit.config.max_length,
        "seed": fit.config.seed,
        "hyper_parameters": {
            **hyper_parameters,
            "optimizer": "AdamW",
            "schedule": "linear warm-up, then linear decay to 0",
            "target_modules": list(fit.target_modules),
        },
        "epoch": fit.chosen.number,
        "chosen_by": "validation macro-F1",
        "epochs": [
            {
                "epoch": epoch.number,
                "loss": round(epoch.loss, 4),
                "validation_accuracy": epoch.validation.accuracy,
                "validation_macro_f1": epoch.validation.macro_f1,
                "seconds": round(epoch.seconds, 1),
            }
            for epoch in fit.epochs
        ],
        "metrics": {},
        "parent_version": provenance.parent_version,
        "data": {
            "name": provenance.data_name,
            "fingerprint": data.fingerprint,
            "rows": {name: len(split.texts) for name, split in splits.items() if split},
            "train_labels": _label_counts(data.train, data.labels),
            "notes": [*provenance.notes, *data.notes],
        },
        "license": provenance.license,
        "language": provenance.language,
        "libraries": {library: version(library) for library in RECORDED_LIBRARIES},
        "device": fit.device,
        "threads": torch.get_num_threads(),
        "seconds": round(fit.seconds, 1),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _label_counts(split: Split, labels: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(split.label_ids)
    return {label: counts[i] for i, label in enumerate(labels)}
