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

from db.errors import LabelstreamError, RegistryError, run_command
from db.registry.artifacts import ArtifactStore, artifact_store, is_whole
from db.registry.names import parse_ref
from db.registry.versions import NewVersion, Version, resolve, set_merged
from db.settings import get_settings
from db.store import Store, open_store
from worker.base_checks import check_base
from worker.bases import resolve_base
from worker.engines.torch_model import LOGITS_ALONE
from worker.with_parent import WithParent, leave_with_parent

#: What a plain `transformers.pipeline` needs beside tokenizer.json, where the base has it.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)

#: An adapter's weights and configuration, as PEFT names them.
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

#: A whole model's weights: one file, or several and an index.
WEIGHTS_PATTERN = "model*.safetensors*"

#: Where the weights of a classification head end that has one row a class.
_HEADS = (
    ".classifier.weight",
    ".score.weight",
    ".classifier.out_proj.weight",
    ".classification_head.out_proj.weight",
    ".logits_proj.weight",
)

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def merge(model: str, with_parent: WithParent = False) -> None:
    """Merge MODEL:VERSION and record the result."""
    leave_with_parent(with_parent)
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
    if (
        version.merged is not None
        and version.merged_sha256 is not None
        and is_whole(artifacts, version.merged, version.merged_sha256)
    ):
        return
    with tempfile.TemporaryDirectory(prefix="labelstream-merge-") as folder:
        write_merged(artifacts, version, Path(folder))
        location, hashes = artifacts.publish(Path(folder))
    recorded = set_merged(store, version, location, hashes)
    unused = version.merged if recorded else location
    if unused is not None:
        artifacts.discard(unused)


def write_merged(artifacts: ArtifactStore, version: Version, folder: Path) -> None:
    """Write model.safetensors, config.json and the tokenizer's files of `version` to `folder`.

    The same adapter and base give the same bytes. Raises `RegistryError` if the adapter or the
    base is not the registered one, or the head does not fit the label names.
    """
    adapter = artifacts.verified(version.adapter, version.adapter_sha256)
    merge_files(adapter, version, folder, name=str(version))


def merge_files(source: Path, version: NewVersion, folder: Path, *, name: str) -> None:
    """Write the model that the files in `source` make to the existing folder `folder`.

    `source` holds an adapter for the base of `version`, or, without adapter_config.json, a whole
    model. `name` is what errors call it. Raises `RegistryError` if something does not fit.
    """
    try:
        _check_head(source, version.labels, name)
        if is_adapter(source):
            base = resolve_base(version.base, version.base_revision)
            check_base(base, version)
            _save_merged(base.path, source, version.labels, folder)
            tokenizer = base.path
        else:
            for file in (*sorted(source.glob(WEIGHTS_PATTERN)), source / "config.json"):
                shutil.copyfile(file, folder / file.name)
            tokenizer = source
        for file_name in TOKENIZER_FILES:
            if (tokenizer / file_name).is_file():
                shutil.copyfile(tokenizer / file_name, folder / file_name)
    except LabelstreamError:
        raise
    except Exception as error:  # noqa: BLE001  (what the libraries raise has many kinds)
        raise RegistryError(
            f"model {name} cannot be made from its files and its base {version.base} "
            f"({type(error).__name__}): {error}"
        ) from None


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter, and not a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def head_sizes(folder: Path) -> list[int]:
    """Return the number of classes of each classification head in the weights of `folder`.

    Raises `RegistryError` for a file that is no safetensors, or broken off.
    """
    from safetensors import SafetensorError, safe_open

    sizes = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as tensors:
                sizes += [
                    tensors.get_slice(name).get_shape()[0]
                    for name in tensors.keys()  # noqa: SIM118  (not a dictionary)
                    # A whole model's head stands at the top, without a dot before it.
                    if f".{name}".endswith(_HEADS) and "lora" not in name
                ]
        except SafetensorError as error:
            raise RegistryError(f"{file} cannot be read ({error}): copy or save it again") from None
    return sizes


def _check_head(folder: Path, labels: tuple[str, ...], model: str) -> None:
    heads = head_sizes(folder)
    if len(labels) not in heads:
        sizes = " or ".join(map(str, heads)) or "no"
        raise RegistryError(
            f"model {model} has a head of {sizes} classes, but {len(labels)} label names are "
            "registered with it; register it with the labels it was fitted with"
        )


def _save_merged(base: Path, adapter: Path, labels: tuple[str, ...], folder: Path) -> None:
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    # Asked for by name: without such a file PEFT would look for a pickle.
    with safe_open(adapter / ADAPTER_WEIGHTS, framework="numpy") as tensors:
        given = set(tensors.keys())
    bare = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        # In a base of 16 bits most of what the adapter adds would be rounded away.
        dtype=torch.float32,
        # Some of what a config may ask for cannot be saved beside the fast attention.
        **LOGITS_ALONE,
    )
    with warnings.catch_warnings():
        # PEFT still asks transformers by a deprecated name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = PeftModel.from_pretrained(bare, str(adapter))
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
