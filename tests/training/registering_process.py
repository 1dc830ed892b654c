"""Registers a folder in a process of its own: `DATABASE_URL REGISTRY FOLDER MODEL [KILL]`.

With KILL `copy` it ends itself with -9 within the copying, with `commit` right before the commit.
"""

import os
import signal
import sys
from pathlib import Path

import db.registry.artifacts
import training.registering
from db.registry.artifacts import ArtifactStore
from db.settings import Settings
from db.store import open_store


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


url, registry, folder, model, *kill = sys.argv[1:]
if kill == ["copy"]:
    db.registry.artifacts.sha256_of = die  # type: ignore[assignment]
elif kill == ["commit"]:
    training.registering.add_first_version = die  # type: ignore[attr-defined]
store = open_store(Settings(_env_file=None, database_url=url))
print("ready", flush=True)
sys.stdin.readline()
print(training.registering.register(store, ArtifactStore(registry), Path(folder), model))
