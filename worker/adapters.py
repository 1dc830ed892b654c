"""What an adapter's folder says of itself, in labelstream.json, as a version to register."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db.errors import RegistryError
from db.registry.versions import NewVersion

#: The file that `training fit` writes beside the adapter.
METADATA_FILE = "labelstream.json"

#: The layouts of that file that are understood.
KNOWN_FORMATS = (1,)


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of the labelstream.json in `folder`.

    Raises `RegistryError` if it is missing, no JSON, or of a format that is not known here.
    """
    path = folder / METADATA_FILE
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if described["format_version"] not in KNOWN_FORMATS:
            raise RegistryError(
                f"{path} has format {described['format_version']}: it needs a newer Labelstream"
            )
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    return dict(described)


def read_version(folder: Path, model: str, location: str, hashes: Mapping[str, str]) -> NewVersion:
    """Return what to register for the adapter in `folder`, published at `location`.

    Raises `RegistryError` if its labelstream.json is missing, incomplete or of another format.
    """
    described = read_description(folder)
    try:
        return described_version(described, model, location, hashes)
    except (KeyError, TypeError) as error:
        raise _damaged(folder / METADATA_FILE, error) from None


def described_version(
    described: Mapping[str, Any], model: str, location: str, hashes: Mapping[str, str]
) -> NewVersion:
    """Return the version that the content of a labelstream.json describes."""
    return NewVersion(
        model=model,
        base=described["base"],
        base_revision=described["base_revision"],
        base_sha256=described["base_sha256"],
        adapter=location,
        adapter_sha256=hashes,
        labels=tuple(described["labels"]),
        max_length=described["max_length"],
        temperature=described.get("temperature", {}),
        unsure_below=described.get("unsure_below"),
        metrics=described["metrics"],
        reference=described.get("reference"),
        data=described["data"]["name"],
        data_fingerprint=described["data"]["fingerprint"],
        license=described["license"],
        language=described["language"],
        parent_version=described.get("parent_version"),
        libraries=described["libraries"],
    )


def _damaged(path: Path, error: Exception) -> RegistryError:
    return RegistryError(
        f"{path} is damaged ({type(error).__name__}): write the adapter again with training fit, "
        "or install Labelstream again if it is the starter's"
    )
