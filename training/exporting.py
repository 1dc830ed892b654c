"""A version's files for others: a plain model folder, or what was registered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.describing import pretty, writing
from worker.adapters import METADATA_FILE
from worker.serving import ensure_merged

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.registry import Registry


def export_registered(registry: Registry, version: Version, out: Path) -> None:
    """Copy what was registered, verified, to the folder `out`: an adapter, or a whole model."""
    folder = registry.artifacts.verified(version.adapter, version.adapter_sha256)
    with writing(out):
        for name in version.adapter_sha256:
            _copy(folder / name, out / name)


def export_served(registry: Registry, version: Version, out: Path) -> None:
    """Copy the model that workers serve to `out`, as `transformers.pipeline` loads it.

    With it come the model card and labelstream.json, which has the temperature and the threshold
    that the version has now: a plain pipeline knows of neither. Raises `RegistryError` if the model cannot be made.
    """
    merged = ensure_merged(registry.store, registry.settings, version)
    adapter = registry.artifacts.verified(version.adapter, version.adapter_sha256)
    with writing(out):
        for file in sorted(merged.iterdir()):
            _copy(file, out / file.name)
        for name in ("README.md", METADATA_FILE):
            if name in version.adapter_sha256:
                _copy(adapter / name, out / name)
        _tell(
            out / METADATA_FILE,
            temperature=dict(version.temperature),
            unsure_below=version.unsure_below,
        )
        # So that `truncation=True` cuts a text where the worker does.
        _tell(out / "tokenizer_config.json", model_max_length=version.max_length)
        # Weights of 16 bits are computed with in 32 on a CPU, as the worker does.
        _tell(out / "config.json", dtype="float32")


def _tell(file: Path, **values: Any) -> None:
    """Set values of a JSON object, which is made where it is not there yet."""
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(pretty({**told, **values}), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
