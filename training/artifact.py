"""Write a finished fit as a folder: PEFT adapter, label names, metadata, model card."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from db.errors import UsageError
from db.settings import Settings, get_settings
from training.data import LabelledData, Split
from training.fit import Fit
from training.measuring import Measured, evaluation_record, measure_candidate
from training.model_card import model_card
from worker.adapters import METADATA_FILE, described_version

#: The version of labelstream.json's layout.
FORMAT_VERSION = 1

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
) -> Measured:
    """Write the adapter folder `out` (made if absent), measured by the engine of the settings.

    Files: adapter_model.safetensors, adapter_config.json, config.json (id2label and label2id),
    labelstream.json, README.md. Raises UsageError when the folder cannot be written.
    """
    try:
        _save(fit, out)
        described = described_version(metadata(fit, data, provenance), provenance.model, "", {})
        measured = measure_candidate(out, described, data, settings or get_settings())
        content = {**metadata(fit, data, provenance), **_measured(measured)}
        _write(out / METADATA_FILE, _pretty(content))
        _write(out / "README.md", model_card(content))
    except OSError as error:
        raise UsageError(f"cannot write the adapter to {out}: {error.strerror or error}") from None
    return measured


def _save(fit: Fit, out: Path) -> None:
    config = json.loads(fit.model.config.to_json_string())
    # A local path: the base is named in the adapter's configuration.
    config.pop("_name_or_path", None)
    config["architectures"] = [type(fit.model.get_base_model()).__name__]
    out.mkdir(parents=True, exist_ok=True)
    # "auto" would ask the hub whether the base's vocabulary was changed.
    fit.model.save_pretrained(str(out), save_embedding_layers=False)
    _write(out / "config.json", _pretty(config))


def _measured(measured: Measured) -> dict[str, object]:
    return {
        "metrics": {
            "validation": evaluation_record(measured.validation),
            "test": evaluation_record(measured.test) if measured.test else None,
        },
        "temperature": {measured.engine: measured.temperature},
        "reference": measured.reference,
    }


def metadata(fit: Fit, data: LabelledData, provenance: Provenance) -> dict[str, object]:
    """Return what is known of a fit before it is measured, as labelstream.json holds it."""
    import torch

    hyper_parameters = asdict(fit.config)
    for recorded_above in ("base", "base_revision", "max_length", "seed"):
        del hyper_parameters[recorded_above]
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


def _pretty(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
