"""`python -m worker.build MODEL:VERSION`: a build from the texts that the version keeps.

A process of its own, at the first use of a version on processors of a kind: serving a build needs no
torch, and making one does. One at a time on a machine; who waited finds that it is done.
"""

import os

import typer

from db.defaults import BUILD_LIMIT_SECONDS
from db.errors import RegistryError, UsageError, one_line, run_command
from db.registry.artifacts import artifact_store, is_whole
from db.registry.builds import find_build, record_not_built
from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.settings import get_settings
from db.store import open_store
from worker.builds import Unbuildable, build_key
from worker.embedded.locks import FileLock
from worker.int8.building import build_from_probes
from worker.with_parent import WithParent, leave_with_parent

#: Whoever builds holds it, in the home folder.
LOCK_FILE = "build.lock"

#: Seconds for which another one's build is waited for: half of what whoever asked waits in all.
_OTHERS_SECONDS = BUILD_LIMIT_SECONDS / 2

#: How much less of the processors a build gets than what runs beside it.
_NICE = 10

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def build(model: str, with_parent: WithParent = False) -> None:
    """Make a build of MODEL:VERSION for this machine's processor, unless there is one."""
    leave_with_parent(with_parent)
    # What serves meanwhile, or is waited for, comes first.
    os.nice(_NICE)
    settings = get_settings()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(settings.home / LOCK_FILE)
    if not lock.acquire(timeout=_OTHERS_SECONDS):
        raise UsageError(f"another process has been building for {_OTHERS_SECONDS:.0f} s")
    store = open_store(settings)
    try:
        version = resolve(store, parse_ref(model))
        before = find_build(store, version, build_key())
        if before is None or not is_whole(artifact_store(settings), before.location, before.sha256):
            # Another machine may have replaced it by the time that this build is done.
            made = build_from_probes(
                store, settings, version, who="labelstream", replaces=lambda there: there == before
            )
            if made is None:
                raise RegistryError(f"model {version} keeps no texts to calibrate with")
    except Unbuildable as error:
        record_not_built(store, version, build_key(), one_line(error), who="labelstream")
        raise
    finally:
        store.close()
        lock.release()
    typer.echo(f"model {model} built")


if __name__ == "__main__":
    run_command(app)
