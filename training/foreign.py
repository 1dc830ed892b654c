"""Models that were made elsewhere: a PEFT adapter or a whole fine-tune becomes a version."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from db.errors import UsageError
from training.adapting import longest_input
from training.artifact import RECORDED_LIBRARIES
from training.describing import FORMAT_VERSION, pretty, write_description, writing
from worker.adapters import METADATA_FILE
from worker.bases import fetch_snapshot, resolve_base
from worker.merge import ADAPTER_CONFIG, TOKENIZER_FILES, WEIGHTS_PATTERN, head_sizes, is_adapter

#: Tokens that a text is cut to where neither the model nor the user says less.
MOST_TOKENS = 512

#: What transformers calls labels that nobody named.
_UNNAMED = "LABEL_"


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with the files of a model, and where they came from: a path, or hub id and commit."""

    folder: Path
    name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What the user says of a model; None where the files are to tell."""

    labels: tuple[str, ...] | None = None
    base: str | None = None
    base_revision: str | None = None
    max_length: int | None = None
    data_name: str | None = None
    license: str | None = None
    language: str | None = None

    def any(self) -> bool:
        """Whether anything is said."""
        return any(getattr(self, name) is not None for name in self.__dataclass_fields__)


def locate(source: str, revision: str | None = None) -> Source:
    """Find the files of a folder or of a hub repository, which is fetched.

    Raises `UsageError` for a path that is no folder, `LabelstreamError` for what cannot be fetched.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UsageError(f"{source} is a folder, which has no --revision")
        return Source(folder, str(folder.resolve()), None)
    if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise UsageError(f"{source} is no folder: check the path")
    snapshot = fetch_snapshot(source, revision, what="model", advice="check the name")
    return Source(snapshot, source, snapshot.name)


def described_by_itself(source: Source) -> bool:
    """Whether `training fit` wrote the folder, so that nothing need be said of it."""
    return (source.folder / METADATA_FILE).is_file()


def adopt(source: Source, model: str, claims: Claims, out: Path) -> dict[str, Any]:
    """Copy what is needed of `source` into the new folder `out`, and describe it there.

    Only safetensors, JSON and the tokenizer's text files are taken, whatever else lies there.
    Returns the content of labelstream.json. Raises `UsageError` or `LabelstreamError` for what is
    no text classifier, or has no names for its labels.
    """
    out.mkdir(parents=True)
    with writing(out):
        if is_adapter(source.folder):
            content = _adapter(source, claims, out)
        elif (source.folder / "config.json").is_file():
            content = _whole(source, claims, out)
        else:
            raise UsageError(
                f"{source.name} holds neither {ADAPTER_CONFIG} nor config.json: give the folder "
                "that save_pretrained wrote"
            )
        readme = source.folder / "README.md"
        if readme.is_file():
            shutil.copyfile(readme, out / "README.md")
        content = {
            "format_version": FORMAT_VERSION,
            "model": model,
            **content,
            "source": source.name,
            "source_revision": source.revision,
            "metrics": {},
            "temperature": {},
            "data": {"name": claims.data_name, "fingerprint": None},
            "license": claims.license,
            "language": claims.language,
            "libraries": {name: library_version(name) for name in RECORDED_LIBRARIES},
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_description(content, out)
    return content


def _adapter(source: Source, claims: Claims, out: Path) -> dict[str, Any]:
    folder = source.folder
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise UsageError(
            f"{source.name} has no adapter_model.safetensors: save it with "
            "save_pretrained(…, safe_serialization=True)"
        )
    config = _json(folder / ADAPTER_CONFIG)
    name = claims.base or config.get("base_model_name_or_path")
    if not name:
        raise UsageError(f"{source.name} does not name its base: give --base")
    # What a user names comes without the commit that the adapter knows.
    known = None if claims.base else config.get("revision")
    base = resolve_base(str(name), claims.base_revision or known)
    for file in (weights, folder / ADAPTER_CONFIG):
        shutil.copyfile(file, out / file.name)
    own = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    labels = _labels(source, claims, own)
    if own:
        (out / "config.json").write_text(pretty(_named(own, labels)), encoding="utf-8")
    return {
        "base": base.name,
        "base_revision": base.revision,
        "base_sha256": base.sha256,
        "labels": list(labels),
        "max_length": _max_length(base.path, claims),
    }


def _whole(source: Source, claims: Claims, out: Path) -> dict[str, Any]:
    folder = source.folder
    if claims.base is not None or claims.base_revision is not None:
        raise UsageError(f"{source.name} is a whole model, which needs no --base")
    config = _json(folder / "config.json")
    kinds = config.get("architectures") or ["no architecture"]
    if not any(str(kind).endswith("ForSequenceClassification") for kind in kinds):
        raise UsageError(
            f"{source.name} is {kinds[0]}, no text classifier: fit one on it with training fit "
            f"--base {source.name}"
        )
    if config.get("problem_type") == "multi_label_classification":
        raise UsageError(
            f"{source.name} gives a text several labels at once (problem_type multi_label_"
            "classification): such models cannot be served yet"
        )
    files = sorted(file for file in folder.glob(WEIGHTS_PATTERN) if file.is_file())
    if not files:
        raise UsageError(
            f"{source.name} has no .safetensors weights: save it with "
            "save_pretrained(…, safe_serialization=True)"
        )
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"{source.name} has no tokenizer.json: save its fast tokenizer there with "
            "save_pretrained"
        )
    for file in (*files, *(folder / name for name in TOKENIZER_FILES)):
        if file.is_file():
            shutil.copyfile(file, out / file.name)
    labels = _labels(source, claims, config)
    (out / "config.json").write_text(pretty(_named(config, labels)), encoding="utf-8")
    return {
        # Its own base: what a retrain begins with. The files are in the registry, not there.
        "base": source.name,
        "base_revision": source.revision,
        "base_sha256": {},
        "labels": list(labels),
        "max_length": _max_length(folder, claims),
    }


def _labels(source: Source, claims: Claims, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the label names, which fit the head: those claimed, else those of config.json."""
    names = claims.labels or _configured_labels(config)
    heads = head_sizes(source.folder)
    size = " or ".join(map(str, heads)) or "no"
    unnamed = names is None or any(name.startswith(_UNNAMED) for name in names)
    if names is None or (unnamed and not claims.labels):
        raise UsageError(
            f"{source.name} does not name its labels (its head has {size} classes): give "
            "--labels a,b,c in the order of their ids"
        )
    if len(names) not in heads:
        raise UsageError(
            f"{source.name} has a head of {size} classes, but {len(names)} label names: give "
            "--labels a,b,c, one a class in the order of the ids"
        )
    if len(set(names)) < len(names):
        raise UsageError(f"{source.name} has two labels of one name: give --labels a,b,c")
    if len(names) < 2:
        raise UsageError(f"{source.name} has one label, as a regression has: at least 2 are needed")
    return names


def _configured_labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    named = config.get("id2label")
    if not isinstance(named, dict) or not named:
        return None
    try:
        by_id = {int(key): str(value) for key, value in named.items()}
    except ValueError:
        return None
    if sorted(by_id) != list(range(len(by_id))):
        return None
    return tuple(by_id[i] for i in range(len(by_id)))


def _named(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    return {
        **config,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _max_length(folder: Path, claims: Claims) -> int:
    """Return how many tokens a text is cut to: as claimed, else as many as the model reads."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    longest = longest_input(config)
    if claims.max_length is not None:
        if longest is not None and claims.max_length > longest:
            raise UsageError(
                f"the model reads at most {longest} tokens, not {claims.max_length}: lower "
                "--max-length"
            )
        return claims.max_length
    tokenizer = folder / "tokenizer_config.json"
    told = _json(tokenizer).get("model_max_length") if tokenizer.is_file() else None
    # Where none was set, transformers writes a number of 31 digits.
    limits = [each for each in (longest, told) if isinstance(each, int)]
    return min([MOST_TOKENS, *limits])


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no JSON object")
    return content
