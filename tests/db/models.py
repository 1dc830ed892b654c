"""Versions as small as they can be, for tests of the registry and of what refers to it."""

from typing import Any

from db.registry.versions import NewVersion


def new_version(model: str = "emotion", **values: Any) -> NewVersion:
    """Return a version to be registered, the same but for `values`."""
    standard: dict[str, Any] = {
        "model": model,
        "base": "a/base",
        "base_revision": None,
        "base_sha256": {"model.safetensors": "0" * 64},
        "adapter": "folder",
        "adapter_sha256": {"adapter_model.safetensors": "1" * 64},
        "labels": ("anger", "joy"),
        "max_length": 128,
    }
    return NewVersion(**{**standard, **values})
