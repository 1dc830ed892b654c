"""Registered versions as small as they can be, for what needs one but no registry."""

from collections.abc import Iterable

from db.registry.versions import Version


def version(
    labels: Iterable[str] = "abc", number: int = 1, model: str = "letters", max_length: int = 128
) -> Version:
    """Return a version with these labels whose files are nowhere."""
    return Version(
        model=model,
        base="none",
        base_revision=None,
        base_sha256={},
        adapter="none",
        adapter_sha256={},
        labels=tuple(labels),
        max_length=max_length,
        version=number,
    )
