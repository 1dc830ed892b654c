"""The names of a foreign model's labels: as claimed, or as its config.json has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db.errors import UsageError
from worker.merge import head_sizes

#: What transformers calls labels that nobody named.
_UNNAMED = "LABEL_"


def fitting_labels(
    name: str, folder: Path, claimed: tuple[str, ...] | None, config: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the label names of the model `name` in `folder`: those claimed, else those of `config`.

    Raises `UsageError` for names that are missing, doubled, or not as many as the head of the
    weights has classes.
    """
    heads = sorted(set(head_sizes(folder)))
    if not heads:
        raise UsageError(
            f"{name} has no classification head among its weights: save it with its head (an "
            "adapter: with task_type SEQ_CLS)"
        )
    size = " or ".join(map(str, heads))
    if heads == [1]:
        raise UsageError(
            f"{name} has a head of 1 class, as a regression has: at least 2 are needed"
        )
    names = claimed or configured_labels(config)
    if names is None or (not claimed and any(each.startswith(_UNNAMED) for each in names)):
        raise UsageError(
            f"{name} does not name its labels (its head has {size} classes): give "
            "--labels a,b,c in the order of their ids"
        )
    if len(names) not in heads:
        raise UsageError(
            f"{name} has a head of {size} classes, but {len(names)} label names: give "
            "--labels a,b,c, one a class in the order of the ids"
        )
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise UsageError(f"{name} has two labels called {twice[0]!r}: give --labels a,b,c")
    return names


def configured_labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the label names of a config.json; None if it does not number them from 0 on."""
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


def with_labels(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return the content of a config.json with these label names."""
    return {
        **config,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
