"""Files derived from a version, made by a process of their own: serving never imports what makes them."""

import os
import subprocess
import sys

from db.defaults import LOAD_LIMIT_SECONDS
from db.errors import RegistryError
from db.registry.versions import Version
from db.settings import Settings
from db.store import Store


def derive(
    module: str,
    store: Store,
    settings: Settings,
    version: Version,
    done: str,
    limit: float = LOAD_LIMIT_SECONDS,
) -> None:
    """Run `python -m MODULE MODEL:VERSION` on this store and registry.

    `done` is what the version is then, such as "merged". Raises `RegistryError` with the last line
    that the process said if it fails, or takes longer than `limit` seconds.
    """
    # The address travels in the environment: a command line is for everybody to see.
    environment = {
        **os.environ,
        "LABELSTREAM_DATABASE_URL": store.url,
        "LABELSTREAM_REGISTRY_DIR": settings.registry,
        # It keeps its copies of a remote registry's files where this process does.
        "LABELSTREAM_HOME_DIR": str(settings.home),
    }
    try:
        ended = subprocess.run(
            # -P: a file worker.py in the working folder is not ours.
            [sys.executable, "-P", "-m", module, str(version)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(f"model {version} could not be {done} within {limit:.0f} s") from None
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"model {version} could not be {done}: {last.removeprefix('error: ')}")
