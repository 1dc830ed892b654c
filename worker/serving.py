"""Making a version serve: its merged model verified, or made anew, and an engine for it."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from db.defaults import LOAD_LIMIT_SECONDS
from db.errors import RegistryError, RegistryUnavailable, UsageError
from db.registry.artifacts import artifact_store
from db.registry.names import ModelRef
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import Store
from worker.builds import ENGINE, build_key, usable_build
from worker.devices import on_cpu
from worker.engines import NEEDS_NO_MODEL, Engine, make_engine

log = logging.getLogger(__name__)


class Loader:
    """Loads versions for one process, on the engine and device that the settings name."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        #: Loads so far, for tests.
        self.loads = 0

    def load(self, version: Version) -> Engine:
        """Return an engine for `version`, ready to compute.

        Raises `RegistryError` if its files cannot be made good, `UsageError` for an engine or a
        device that is not there.
        """
        started = time.monotonic()
        name, folder = self._choice(version)
        engine = make_engine(
            name, folder, version, self._settings.device, pace=self._settings.engine_pace
        )
        self.loads += 1
        log.info(
            "model %s loaded on %s with engine %s in %.1f s",
            version,
            engine.device,
            engine.name,
            time.monotonic() - started,
        )
        return engine

    def _choice(self, version: Version) -> tuple[str, Path | None]:
        """Return the engine for `version`, and the folder of what it computes with."""
        asked = self._settings.engine
        if asked in NEEDS_NO_MODEL:
            return asked, None
        if asked == ENGINE and not on_cpu(self._settings.device):
            raise UsageError(
                f"the engine {ENGINE} computes on CPUs, not on {self._settings.device}: set "
                "LABELSTREAM_ENGINE=auto, or LABELSTREAM_DEVICE=cpu"
            )
        if asked == ENGINE or (asked == "auto" and on_cpu(self._settings.device)):
            build = usable_build(self._store, self._settings, version)
            if build is not None:
                return ENGINE, build
        if asked == ENGINE:
            raise RegistryError(
                f"model {version} has no build for {ENGINE} {build_key().engine_version} on this "
                f"processor; make one here: training build {version}"
            )
        return "torch", ensure_merged(self._store, self._settings, version)


def ensure_merged(store: Store, settings: Settings, version: Version) -> Path:
    """Return the folder of the merged model, every file of it checked by its SHA-256.

    Where it is missing or damaged it is made anew from the adapter, by a child process: that is
    the one place on the serving side that needs peft. Raises `RegistryError` if that fails, and
    `RegistryUnavailable` if nothing is known of it, because the registry cannot be reached.
    """
    folder = _verified(settings, version)
    if folder is not None:
        return folder
    _merge(store, settings, version)
    made = resolve(store, ModelRef(version.model, None, version.version))
    folder = _verified(settings, made)
    if folder is None:
        raise RegistryError(f"model {version} was merged, but its files are damaged again")
    return folder


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


def _merge(store: Store, settings: Settings, version: Version) -> None:
    log.info("model %s is merged from its adapter", version)
    # The address travels in the environment: a command line is for everybody to see.
    environment = {
        **os.environ,
        "LABELSTREAM_DATABASE_URL": store.url,
        "LABELSTREAM_REGISTRY_DIR": settings.registry,
        # It keeps its copies of a remote registry's files where this process does.
        "LABELSTREAM_HOME_DIR": str(settings.home),
    }
    try:
        done = subprocess.run(
            # -P: a file worker.py in the working folder is not ours.
            [sys.executable, "-P", "-m", "worker.merge", str(version)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOAD_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"model {version} could not be merged within {LOAD_LIMIT_SECONDS:.0f} s"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"model {version} could not be merged: {last.removeprefix('error: ')}")
