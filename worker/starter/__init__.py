"""The starter model: an adapter that comes with Labelstream and registers itself at first use."""

import json
from pathlib import Path
from typing import Any

from db.defaults import STARTER_MODEL
from db.errors import RegistryError
from db.registry.artifacts import discard, publish
from db.registry.versions import DEFAULT_ALIAS, NewVersion, add_first_version, list_versions
from db.store import Store

#: The adapter, its label names, its metadata and its model card.
ADAPTER = Path(__file__).parent / "adapter"


def ensure_starter(store: Store, registry: Path) -> None:
    """Register the starter as version 1 of `emotion`, alias `production`, unless that is done.

    Of several processes that start at once, one registers. Raises `RegistryError` if the
    registry's folder cannot be written.
    """
    if list_versions(store, STARTER_MODEL):
        return
    described = _metadata()
    location, hashes = publish(registry, ADAPTER)
    version = add_first_version(
        store,
        NewVersion(
            model=STARTER_MODEL,
            base=described["base"],
            base_revision=described["base_revision"],
            base_sha256=described["base_sha256"],
            adapter=location,
            adapter_sha256=hashes,
            labels=tuple(described["labels"]),
            max_length=described["max_length"],
            metrics=described["metrics"],
            data=described["data"]["name"],
            data_fingerprint=described["data"]["fingerprint"],
            license=described["license"],
            language=described["language"],
            libraries=described["libraries"],
        ),
        who="labelstream",
        why="the starter model, registered at first use",
        alias=DEFAULT_ALIAS,
    )
    if version is None:
        discard(registry, location)


def _metadata() -> dict[str, Any]:
    path = ADAPTER / "labelstream.json"
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RegistryError(
            f"the starter model's {path} cannot be read; install Labelstream again"
        ) from None
    return described
