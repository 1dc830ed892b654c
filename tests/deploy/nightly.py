"""What the tests of the schedules share: a deployment whose settings stand in a `.env`, as theirs do."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.cluster import BIN, TEST_ENGINE, Cluster
from tests.deploy.compose import ROOT

SCHEDULING = ROOT / "examples" / "scheduling"

#: 40 rows of which two are none.
TEXTS = "id,text\n" + "".join(f"{n},text number {n}\n" for n in range(38)) + "38,\n39,too,many\n"
LABELED, REJECTED = 38, 2


@contextmanager
def deployment(folder: Path, broker_url: str, **settings: str) -> Iterator[Cluster]:
    """Give a cluster without a worker on SQLite; commands that run in `folder` find its settings."""
    cluster = Cluster(folder, broker_url, f"sqlite:///{folder / 'store.db'}", folder / "registry")
    cluster.settings |= {"LABELSTREAM_DEVICE": "cpu", **settings}
    lines = {"LABELSTREAM_ENGINE": TEST_ENGINE, **cluster.settings}
    (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    (folder / "texts").mkdir()
    (folder / "labels").mkdir()
    yield cluster
    cluster.stop()


def bare_environment(**variables: str) -> dict[str, str]:
    """Return what cron gives a command, and `variables`."""
    bare = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "LOGNAME": "labelstream"}
    # Where this checkout is not the one that is installed, and so that processes share two cores.
    ours = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {**bare, **ours, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}


def places(folder: Path) -> dict[str, str]:
    """Return the variables that point the commands at a deployment's folder."""
    return {
        "NIGHTLY_BIN": str(BIN),
        "NIGHTLY_HOME": str(folder),
        "NIGHTLY_TEXTS": str(folder / "texts"),
        "NIGHTLY_LABELS": str(folder / "labels"),
        "NIGHTLY_DATA": str(folder / "data"),
    }


def loaded_commands() -> ModuleType:
    """Return `nightly_commands` as it is with the variables that are set now."""
    path = SCHEDULING / "nightly_commands.py"
    spec = importlib.util.spec_from_file_location("nightly_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks for its own module.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module
