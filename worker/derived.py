"""Files derived from a version, made by a process of their own: serving never imports what makes them."""

import os
import subprocess
import sys

from db.defaults import LOAD_LIMIT_SECONDS
from db.errors import RegistryError
from db.registry.versions import Version
from db.settings import Settings
from db.store import Store

#: Seconds that a process which takes too long has to remove what it has half made.
_LEAVE_SECONDS = 5.0


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
    with subprocess.Popen(
        # -P: a file worker.py in the working folder is not ours.
        [sys.executable, "-P", "-m", module, str(version)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            _, said = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(child)
            raise RegistryError(
                f"model {version} could not be {done} within {limit:.0f} s"
            ) from None
        except BaseException:
            _end(child)
            raise
    if child.returncode:
        last = (said.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"model {version} could not be {done}: {last.removeprefix('error: ')}")


def _end(child: "subprocess.Popen[str]") -> None:
    """End `child`, and by itself, if it heeds that: it has files, and perhaps a child of its own."""
    child.terminate()
    try:
        child.communicate(timeout=_LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
