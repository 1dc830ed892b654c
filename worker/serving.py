"""Making a version serve: its merged model verified, or made anew, and an engine for it."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from db.defaults import BUILD_AGAIN_SECONDS
from db.errors import RegistryError, RegistryUnavailable, UsageError, one_line
from db.registry.artifacts import artifact_store
from db.registry.names import ModelRef
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import Store
from worker.builds import ENGINE, build_key, make_build, may_be_built, usable_build
from worker.derived import derive
from worker.devices import on_cpu
from worker.engines import COMPUTES_NO_MODEL, NEEDS_NO_MODEL, Engine, make_engine

log = logging.getLogger(__name__)


class Loader:
    """Loads versions for one process, on the engine and device that the settings name.

    By `clock`, in seconds, a build that failed is tried again after a while.
    """

    def __init__(
        self, store: Store, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        #: Versions that could not be built here, and until when that is not tried again.
        self._not_built: dict[str, float] = {}
        #: Loads so far, for tests.
        self.loads = 0

    def load(self, version: Version) -> Engine:
        """Return an engine for `version`, ready to compute.

        A build that cannot be loaded, be it that it was just replaced, does not keep a version from
        serving under torch. Raises `RegistryError` if its files cannot be made good, `UsageError`
        for an engine or a device that is not there.
        """
        started = time.monotonic()
        name, folder = self._choice(version)
        try:
            engine = self._make(name, folder, version)
        except (RegistryError, ImportError) as error:
            if name != ENGINE or self._settings.engine == ENGINE:
                raise
            log.warning("model %s: %s; it runs under torch here", version, one_line(error))
            folder = ensure_merged(self._store, self._settings, version)
            engine = self._make("torch", folder, version)
        self.loads += 1
        log.info(
            "model %s loaded on %s with engine %s in %.1f s",
            version,
            engine.device,
            engine.name,
            time.monotonic() - started,
        )
        return engine

    def _make(self, name: str, folder: Path | None, version: Version) -> Engine:
        given = self._settings
        return make_engine(
            name, folder, version, given.device, pace=given.engine_pace, threads=given.threads
        )

    def _choice(self, version: Version) -> tuple[str, Path | None]:
        """Return the engine for `version`, and the folder of what it computes with."""
        asked = self._settings.engine
        if asked in NEEDS_NO_MODEL:
            return asked, None
        if asked in COMPUTES_NO_MODEL:
            return asked, ensure_merged(self._store, self._settings, version)
        if asked == ENGINE and not on_cpu(self._settings.device):
            raise UsageError(
                f"the engine {ENGINE} computes on CPUs, not on {self._settings.device}: set "
                "LABELSTREAM_ENGINE=auto, or LABELSTREAM_DEVICE=cpu"
            )
        if asked == ENGINE or (asked == "auto" and on_cpu(self._settings.device)):
            build = self._build(version)
            if build is not None:
                return ENGINE, build
        if asked == ENGINE:
            raise RegistryError(
                f"model {version} has no build for {ENGINE} {build_key().engine_version} on this "
                f"processor; make one here: training build {version}"
            )
        return "torch", ensure_merged(self._store, self._settings, version)

    def _build(self, version: Version) -> Path | None:
        """Return the folder of the build for this processor, made at its first use."""
        build = usable_build(self._store, self._settings, version)
        if build is not None or self._clock() < self._not_built.get(str(version), 0.0):
            return build
        if not may_be_built(self._store, version):
            return None
        # By itself, with a limit of its own: torch wants it too, should the build take too long.
        ensure_merged(self._store, self._settings, version)
        try:
            make_build(self._store, self._settings, version)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            self._not_built[str(version)] = self._clock() + BUILD_AGAIN_SECONDS
            log.warning("%s; it runs under torch here", error)
            return None
        return usable_build(self._store, self._settings, version)


def ensure_merged(store: Store, settings: Settings, version: Version) -> Path:
    """Return the folder of the merged model, every file of it checked by its SHA-256.

    Where it is missing or damaged it is made anew from the adapter, by a child process: that is
    the one place on the serving side that needs peft. Raises `RegistryError` if that fails, and
    `RegistryUnavailable` if nothing is known of it, because the registry cannot be reached.
    """
    folder = _verified(settings, version) or _merged_since(store, settings, version)
    if folder is not None:
        return folder
    log.info("model %s is merged from its adapter", version)
    derive("worker.merge", store, settings, version, "merged")
    made = resolve(store, ModelRef(version.model, None, version.version))
    folder = _verified(settings, made)
    if folder is None:
        raise RegistryError(f"model {version} was merged, but its files are damaged again")
    return folder


def _merged_since(store: Store, settings: Settings, version: Version) -> Path | None:
    """Return the folder of the model that was merged after `version` was read, if one was."""
    try:
        now = resolve(store, ModelRef(version.model, None, version.version))
    except RegistryError:
        # Whoever merges says so in its own words.
        return None
    return None if now.merged == version.merged else _verified(settings, now)


def _verified(settings: Settings, version: Version) -> Path | None:
    if version.merged is None or version.merged_sha256 is None:
        return None
    try:
        return artifact_store(settings).verified(version.merged, version.merged_sha256)
    except RegistryUnavailable:
        # Merging could not read its adapter either, nor write what it made.
        raise
    except RegistryError as error:
        log.warning("model %s must be merged anew: %s", version, error)
        return None
