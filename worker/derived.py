"""Files derived from a version, made by a process of their own: serving never imports what makes them.

The process ends with whoever asked for it, however that one dies: it reads from a pipe of which the
other end is open for as long as its parent lives, and an end of it counts as TERM.
"""

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

#: How such a process is told that its standard input is that pipe; see `worker.with_parent`.
WITH_PARENT = "--with-parent"


def derive(
    module: str,
    store: Store,
    settings: Settings,
    version: Version,
    done: str,
    limit: float = LOAD_LIMIT_SECONDS,
) -> None:
    """Run `python -m MODULE MODEL:VERSION` on this store and registry.

    The module's command takes `WITH_PARENT`. `done` is what the version is then, such as "merged". Raises `RegistryError` with the last line
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
    listens, speaks = os.pipe()
    try:
        said, status = _run(module, version, environment, listens, limit)
    except subprocess.TimeoutExpired:
        raise RegistryError(f"model {version} could not be {done} within {limit:.0f} s") from None
    finally:
        os.close(speaks)
        os.close(listens)
    if status:
        last = (said.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"model {version} could not be {done}: {last.removeprefix('error: ')}")


def _run(
    module: str, version: Version, environment: dict[str, str], listens: int, limit: float
) -> tuple[str, int]:
    """Run the command with `listens` as its standard input; return its last words and its status."""
    with subprocess.Popen(
        # -P: a file worker.py in the working folder is not ours.
        [sys.executable, "-P", "-m", module, str(version), WITH_PARENT],
        env=environment,
        stdin=listens,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            _, said = child.communicate(timeout=limit)
        except BaseException:
            _end(child)
            raise
        return said, child.returncode


def _end(child: "subprocess.Popen[str]") -> None:
    """End `child`, and by itself, if it heeds that: it has files, and perhaps a child of its own."""
    child.terminate()
    try:
        child.communicate(timeout=_LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
