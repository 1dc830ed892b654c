"""`python -m worker.merge MODEL:VERSION`: merge an adapter into its base, once a version.

A process of its own, so that serving never imports peft. The merged model is a derived artifact:
made from a verified adapter and a verified base, hashed, and recorded with the version.
"""

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import typer

from db.errors import RegistryError, run_command
from db.registry.artifacts import ArtifactStore, artifact_store
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve, set_merged
from db.settings import get_settings
from db.store import Store, open_store
from worker.base_checks import check_base
from worker.bases import BaseModelFiles, resolve_base

#: What a plain `transformers.pipeline` needs beside tokenizer.json, where the base has it.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)

#: The adapter's weights, as PEFT names them.
_WEIGHTS = "adapter_model.safetensors"

#: Where the weights of a classification head end that has one row a class.
_HEADS = (".classifier.weight", ".score.weight", ".out_proj.weight")

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def merge(model: str) -> None:
    """Merge MODEL:VERSION and record the result."""
    settings = get_settings()
    store = open_store(settings)
    try:
        merge_version(store, artifact_store(settings), resolve(store, parse_ref(model)))
    finally:
        store.close()
    typer.echo(f"model {model} merged")


def merge_version(store: Store, artifacts: ArtifactStore, version: Version) -> None:
    """Make the merged model of `version`, unless a good one is recorded already.

    A damaged one is replaced. Of several processes that merge at once, one's result is recorded
    and the others remove theirs. Raises `RegistryError` as `write_merged` does.
    """
    if _is_good(artifacts, version):
        return
    with tempfile.TemporaryDirectory(prefix="labelstream-merge-") as folder:
        write_merged(artifacts, version, Path(folder))
        location, hashes = artifacts.publish(Path(folder))
    recorded = set_merged(store, version, location, hashes)
    unused = version.merged if recorded else location
    if unused is not None:
        artifacts.discard(unused)


def _is_good(artifacts: ArtifactStore, version: Version) -> bool:
    if version.merged is None or version.merged_sha256 is None:
        return False
    try:
        artifacts.verified(version.merged, version.merged_sha256)
    except RegistryError:
        return False
    return True


def write_merged(artifacts: ArtifactStore, version: Version, folder: Path) -> None:
    """Write model.safetensors, config.json and the tokenizer's files of `version` to `folder`.

    The same adapter and base give the same bytes. Raises `RegistryError` if the adapter or the
    base is not the registered one, or the adapter's head does not fit its label names.
    """
    adapter = artifacts.verified(version.adapter, version.adapter_sha256)
    base = resolve_base(version.base, version.base_revision)
    check_base(base, version)
    merge_adapter(adapter, base, version.labels, folder, name=str(version))


def merge_adapter(
    adapter: Path, base: BaseModelFiles, labels: tuple[str, ...], folder: Path, *, name: str
) -> None:
    """Write the merge of the folder `adapter` and `base` to the existing folder `folder`.

    `name` is what errors call the model. Raises `RegistryError` if the adapter does not fit the
    base, or its head does not fit `labels`.
    """
    try:
        _check_head(adapter, labels, name)
        _save_merged(base.path, adapter, labels, folder)
        for file in _TOKENIZER_FILES:
            if (base.path / file).is_file():
                shutil.copyfile(base.path / file, folder / file)
    except RegistryError:
        raise
    except Exception as error:  # noqa: BLE001  (what the libraries raise has many kinds)
        raise RegistryError(
            f"the adapter of model {name} cannot be merged into {base.name} "
            f"({type(error).__name__}): {error}"
        ) from None


def _check_head(adapter: Path, labels: tuple[str, ...], model: str) -> None:
    from safetensors import safe_open

    with safe_open(adapter / _WEIGHTS, framework="numpy") as tensors:
        heads = [
            tensors.get_slice(name).get_shape()[0]
            for name in tensors.keys()  # noqa: SIM118  (not a dictionary)
            if name.endswith(_HEADS) and "lora" not in name
        ]
    if len(labels) not in heads:
        sizes = " or ".join(map(str, heads)) or "no"
        raise RegistryError(
            f"the adapter of model {model} has a head of {sizes} classes, but "
            f"{len(labels)} label names are registered with it; register it with the "
            "labels it was fitted with"
        )


def _save_merged(base: Path, adapter: Path, labels: tuple[str, ...], folder: Path) -> None:
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    bare = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    with warnings.catch_warnings():
        # PEFT still asks transformers by a deprecated name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = PeftModel.from_pretrained(bare, str(adapter))
    with safe_open(adapter / _WEIGHTS, framework="numpy") as tensors:
        given = set(tensors.keys())
    # PEFT passes over weights that have no place, and leaves places without weights as they are.
    placed = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if odd := sorted(given ^ placed):
        raise RegistryError(
            "the adapter's weights do not fit its base and its adapter_config.json: "
            f"{odd[0]} is only in one of them ({len(odd)} such)"
        )
    adapted.merge_and_unload().save_pretrained(folder)


if __name__ == "__main__":
    run_command(app)
