"""`python -m worker.merge MODEL:VERSION`: merge an adapter into its base, once a version.

A process of its own, so that serving never imports peft. The merged model is a derived artifact:
made from a verified adapter and a verified base, hashed, and recorded with the version.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import typer

from db.errors import RegistryError, run_command
from db.registry.artifacts import discard, publish, verify
from db.registry.versions import Version, parse_ref, resolve, set_merged
from db.settings import get_settings
from db.store import open_store
from worker.bases import resolve_base

#: What a plain `transformers.pipeline` needs beside tokenizer.json, where the base has it.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def merge(model: str) -> None:
    """Merge MODEL:VERSION and record the result."""
    settings = get_settings()
    store = open_store(settings)
    version = resolve(store, parse_ref(model))
    with tempfile.TemporaryDirectory(prefix="labelstream-merge-") as folder:
        write_merged(settings.registry, version, Path(folder))
        location, hashes = publish(settings.registry, Path(folder))
    if not set_merged(store, version, location, hashes):
        # Another process was faster; its artifact is as good.
        discard(settings.registry, location)
    typer.echo(f"model {version} merged")


def write_merged(registry: Path, version: Version, folder: Path) -> None:
    """Write model.safetensors, config.json and the tokenizer's files of `version` to `folder`.

    Raises `RegistryError` if the adapter or the base is not the registered one, or the adapter's
    head does not fit its label names.
    """
    adapter = verify(registry, version.adapter, version.adapter_sha256)
    base = resolve_base(version.base, version.base_revision)
    for name, expected in version.base_sha256.items():
        if base.sha256.get(name) != expected:
            raise RegistryError(
                f"base {version.base} has another {name} than model {version} was fitted on; "
                "install the base that its model card names"
            )
    os.environ["HF_HUB_OFFLINE"] = "1"
    from peft import PeftModel
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    with safe_open(adapter / "adapter_model.safetensors", framework="numpy") as tensors:
        heads = [
            tensors.get_slice(name).get_shape()[0]
            for name in tensors.keys()  # noqa: SIM118  (not a dictionary)
            if name.endswith((".classifier.weight", ".score.weight", ".out_proj.weight"))
            and "lora" not in name
        ]
    if len(version.labels) not in heads:
        sizes = ", ".join(map(str, heads)) or "no head at all"
        raise RegistryError(
            f"the adapter of model {version} has {sizes} where {len(version.labels)} label names "
            "are given; its head was fitted with other labels"
        )
    bare = AutoModelForSequenceClassification.from_pretrained(
        base.path,
        num_labels=len(version.labels),
        id2label=dict(enumerate(version.labels)),
        label2id={label: index for index, label in enumerate(version.labels)},
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    merged = PeftModel.from_pretrained(bare, str(adapter)).merge_and_unload()
    merged.save_pretrained(folder, safe_serialization=True)
    for name in _TOKENIZER_FILES:
        if (base.path / name).is_file():
            shutil.copyfile(base.path / name, folder / name)


if __name__ == "__main__":
    sys.exit(run_command(app))
