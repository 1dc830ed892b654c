"""Models that were made elsewhere: a PEFT adapter or a whole fine-tune becomes a version."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from db.errors import UsageError
from training.artifact import RECORDED_LIBRARIES
from training.describing import FORMAT_VERSION, pretty, write_description, writing
from training.foreign_checks import (
    check_classifier,
    check_own_code,
    check_problem,
    check_task,
    most_tokens,
    no_weights,
)
from training.foreign_labels import fitting_labels, with_labels
from worker.adapters import METADATA_FILE
from worker.bases import fetch_snapshot, resolve_base
from worker.merge import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    TOKENIZER_FILES,
    WEIGHTS_PATTERN,
    is_adapter,
)

#: Tokens that a text is cut to where neither the model nor the user says less.
MOST_TOKENS = 512


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
    if folder.exists():
        raise UsageError(f"{source} is a file: give the folder that save_pretrained wrote")
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
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        raise no_weights(source.name, folder, ADAPTER_WEIGHTS)
    config = _json(folder / ADAPTER_CONFIG)
    check_task(source.name, config)
    own = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    check_problem(source.name, own)
    labels = fitting_labels(source.name, folder, claims.labels, own)
    name = claims.base or config.get("base_model_name_or_path")
    if not name:
        raise UsageError(f"{source.name} does not name its base: give --base")
    # What a user names comes without the commit that the adapter knows.
    known = None if claims.base else config.get("revision")
    base = resolve_base(str(name), claims.base_revision or known)
    check_own_code(base.name, _json(base.path / "config.json"))
    for file in (weights, folder / ADAPTER_CONFIG):
        shutil.copyfile(file, out / file.name)
    if own:
        (out / "config.json").write_text(pretty(with_labels(own, labels)), encoding="utf-8")
    return {
        "base": base.name,
        "base_revision": base.revision,
        "base_sha256": base.sha256,
        "labels": list(labels),
        "max_length": _max_length(base.name, base.path, claims),
    }


def _whole(source: Source, claims: Claims, out: Path) -> dict[str, Any]:
    folder = source.folder
    if claims.base is not None or claims.base_revision is not None:
        raise UsageError(f"{source.name} is a whole model, which needs no --base")
    config = _json(folder / "config.json")
    check_classifier(source.name, config)
    files = sorted(file for file in folder.glob(WEIGHTS_PATTERN) if file.is_file())
    if not any(file.suffix == ".safetensors" for file in files):
        raise no_weights(source.name, folder, "model.safetensors")
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"{source.name} has no tokenizer.json: save its fast tokenizer there with "
            "save_pretrained"
        )
    labels = fitting_labels(source.name, folder, claims.labels, config)
    for file in (*files, *(folder / name for name in TOKENIZER_FILES)):
        if file.is_file():
            shutil.copyfile(file, out / file.name)
    (out / "config.json").write_text(pretty(with_labels(config, labels)), encoding="utf-8")
    return {
        # Its own base: what a retrain begins with. The files are in the registry, not there.
        "base": source.name,
        "base_revision": source.revision,
        "base_sha256": {},
        "labels": list(labels),
        "max_length": _max_length(source.name, out, claims),
    }


def _max_length(name: str, folder: Path, claims: Claims) -> int:
    """Return how many tokens a text is cut to: as claimed, else as many as the model reads."""
    longest = most_tokens(name, folder)
    if claims.max_length is not None:
        if longest is not None and claims.max_length > longest:
            raise UsageError(
                f"{name} reads at most {longest} tokens, not {claims.max_length}: lower "
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
