"""The build of a version that this machine's processor can use, if there is one."""

import logging
from pathlib import Path

from db.defaults import BUILD_LIMIT_SECONDS
from db.errors import RegistryError, RegistryUnavailable, UsageError
from db.registry.artifacts import artifact_store
from db.registry.builds import BuildKey, cannot_be_built, find_build
from db.registry.versions import Version
from db.settings import Settings
from db.store import Store
from worker.derived import derive
from worker.openvino_runtime import openvino_version
from worker.probes import PROBE_FILE
from worker.processor import cpu_features

log = logging.getLogger(__name__)

#: The engine that needs a build.
ENGINE = "openvino"


class Unbuildable(RegistryError):
    """A version that has no build under this key however often one tries."""


def build_key() -> BuildKey:
    """Return where a build of this machine may be used; raises `UsageError` without OpenVINO."""
    version = openvino_version()
    if version is None:
        raise UsageError(f"the engine {ENGINE} is not installed here: pip install openvino")
    return BuildKey(ENGINE, version, cpu_features())


def usable_build(store: Store, settings: Settings, version: Version) -> Path | None:
    """Return the folder of the build for this processor, every file of it checked by its SHA-256.

    None if there is none, or a damaged one: it is derived, and made anew.
    Raises `RegistryUnavailable` if nothing is known of it, because the registry cannot be reached or
    this machine has no room for a copy.
    """
    if openvino_version() is None:
        return None
    build = find_build(store, version, build_key())
    if build is None:
        return None
    try:
        return artifact_store(settings).verified(build.location, build.sha256)
    except RegistryUnavailable:
        raise
    except RegistryError as error:
        log.warning(
            "the build of model %s for %s must be made anew (training build %s): %s",
            version,
            ENGINE,
            version,
            error,
        )
        return None


def may_be_built(store: Store, version: Version) -> bool:
    """Whether a build of `version` for this processor can be tried.

    Not if it keeps no texts, was found not to be buildable before, or OpenVINO is not installed.
    """
    if openvino_version() is None or PROBE_FILE not in version.adapter_sha256:
        return False
    if cannot_be_built(store, version, build_key()):
        log.info("model %s cannot be built here (see training show): it runs under torch", version)
        return False
    return True


def make_build(store: Store, settings: Settings, version: Version) -> None:
    """Make a build of `version` for this processor from the texts that it keeps, in a child process.

    Raises `RegistryError` for a version that cannot be built in time, or whose build agrees too
    little with fp32.
    """
    log.info("model %s is made ready for 8 bits on this kind of processor, once", version)
    derive("worker.build", store, settings, version, "built", BUILD_LIMIT_SECONDS)
