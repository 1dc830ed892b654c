"""Whether a model that was made elsewhere can be served at all, as far as its files tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db.errors import LabelstreamError, UsageError
from training.adapting import longest_input
from worker.bases import PICKLE_SUFFIXES

#: What the names of classifiers end with, in transformers.
_CLASSIFIER = "ForSequenceClassification"

#: What PEFT calls an adapter of a text classifier; None where it was not told.
_CLASSIFIER_TASKS = (None, "SEQ_CLS")

#: What a config.json says of the kind of its labels where a text has not exactly one.
_OTHER_PROBLEMS = {
    "multi_label_classification": "gives a text several labels at once",
    "regression": "gives a number, no label",
}


def check_classifier(name: str, config: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless this is the config.json of a classifier that gives one label."""
    kinds = config.get("architectures")
    kinds = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    if not any(kind.endswith(_CLASSIFIER) for kind in kinds):
        raise UsageError(
            f"{name} is {kinds[0] if kinds else 'of no architecture'}, no text classifier: fit one "
            f"on it with training fit --base {name}"
        )
    check_own_code(name, config)
    check_problem(name, config)


def check_own_code(name: str, config: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a model that is computed by Python code of its own."""
    if config.get("auto_map"):
        raise UsageError(
            f"{name} brings code of its own (auto_map in config.json), which is never run: save it "
            "as an architecture that transformers knows"
        )


def check_problem(name: str, config: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a model that does not give a text exactly one label."""
    problem = config.get("problem_type")
    if problem in _OTHER_PROBLEMS:
        raise UsageError(
            f"{name} {_OTHER_PROBLEMS[problem]} (problem_type {problem}): such models cannot be "
            "served yet"
        )


def check_task(name: str, config: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless this is the adapter_config.json of a text classifier."""
    if (task := config.get("task_type")) not in _CLASSIFIER_TASKS:
        raise UsageError(f"{name} is an adapter for {task}, no text classifier (SEQ_CLS)")


def no_weights(name: str, folder: Path, wanted: str) -> UsageError:
    """Return the error for a folder without `wanted`, which names the pickle that lies there."""
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLE_SUFFIXES)
    instead = f", only {pickles[0]}, which could run code and is never loaded" if pickles else ""
    return UsageError(
        f"{name} has no {wanted}{instead}: save it with save_pretrained(…, safe_serialization=True)"
    )


def check_weights(name: str, folder: Path) -> None:
    """Raise `LabelstreamError` if a weight in `folder` cannot be read, or is no finite number.

    A weight that is not finite may lie where only one word leads to it.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118  (not a dictionary)
                    tensor = tensors.get_tensor(key)
                    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                        raise LabelstreamError(
                            f"{name} was not registered: it has weights that are no finite "
                            f"numbers ({key} in {file.name})"
                        )
        except SafetensorError as error:
            raise LabelstreamError(
                f"{name} has a {file.name} that cannot be read ({error}): copy or save it again"
            ) from None


def most_tokens(name: str, folder: Path) -> int | None:
    """Return how many tokens the model of the config.json in `folder` reads; None for any number.

    Raises `UsageError` for an architecture that transformers does not know.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001  (what a foreign file is taken for has many errors)
        raise UsageError(
            f"the config.json of {name} is none that transformers {_transformers()} understands "
            f"({type(error).__name__}): an architecture that it knows is needed"
        ) from None
    return longest_input(config)


def _transformers() -> str:
    from importlib.metadata import version

    return version("transformers")
