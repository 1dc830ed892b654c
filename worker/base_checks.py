"""Whether the base on this machine is the one that a version was fitted on."""

from pathlib import Path

from db.errors import LabelstreamError, RegistryError, one_line
from db.registry.versions import NewVersion, Version
from worker.bases import STARTER_BASE, BaseModelFiles, resolve_base


def base_damage(version: Version) -> str | None:
    """Return what is wrong with the base that `version` was fitted on; None if it is whole.

    Only a base that lies on this machine is looked at: nothing is fetched to tell.
    """
    if not version.base_sha256 or not _is_local(version.base, version.base_revision):
        return None
    try:
        check_base(resolve_base(version.base, version.base_revision), version)
    except LabelstreamError as error:
        return one_line(error)
    return None


def check_base(base: BaseModelFiles, version: NewVersion) -> None:
    """Raise RegistryError unless `base` is byte for byte the one that `version` was fitted on."""
    for name, expected in version.base_sha256.items():
        if base.sha256.get(name) != expected:
            raise RegistryError(
                f"base {version.base} has another {name} than model {_named(version)} was fitted on; "
                "install the base that its model card names"
            )


def _is_local(base: str, revision: str | None) -> bool:
    return (base == STARTER_BASE and revision is None) or Path(base).expanduser().is_absolute()


def _named(version: NewVersion) -> str:
    return str(version) if isinstance(version, Version) else version.model
