"""A process that derives files: ended when it takes too long or its parent dies, and nothing stays."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import RegistryError
from db.processes import ProcessId
from db.registry.builds import list_builds
from db.registry.names import parse_ref
from db.registry.versions import add_version, resolve
from db.settings import Settings
from db.store import Store, open_store
from tests.cluster import clean_environment, wait_until
from tests.db.models import new_version
from worker.build import LOCK_FILE
from worker.derived import derive
from worker.embedded.locks import FileLock
from worker.preparing import prepare

#: Makes a temporary folder, says so, and takes longer than anybody waits; heeds TERM as ours do.
SLOW = """
import signal, sys, tempfile, time
from pathlib import Path
from db.interrupts import heed_signals
heed_signals()
with tempfile.TemporaryDirectory(prefix="half-made-") as folder:
    Path("{told}").write_text(folder)
    time.sleep(600)
"""

#: A worker as far as its loads go; its first argument names the engine.
LOADING = """
import sys
from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.settings import get_settings
from db.store import open_store
from worker.serving import Loader
store = open_store(get_settings())
Loader(store, get_settings()).load(resolve(store, parse_ref("emotion:1")))
"""


def test_a_process_that_takes_too_long_leaves_no_files(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    (tmp_path / "slow_child.py").write_text(SLOW.format(told=told))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = Settings(_env_file=None, home_dir=tmp_path / "home")
    version = add_version(sqlite_store, new_version(), who="me")
    with pytest.raises(RegistryError, match="could not be made within 6 s"):
        derive("slow_child", sqlite_store, settings, version, "made", 6.0)
    assert not Path(told.read_text()).exists()


def children(process: int) -> list[ProcessId]:
    """Return the children of a process, of all its threads."""
    listed = (file.read_text() for file in Path(f"/proc/{process}/task").glob("*/children"))
    found = [ProcessId.of(int(child)) for line in listed for child in line.split()]
    return [child for child in found if child is not None]


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_what_derives_files_leaves_with_a_worker_that_ends_and_leaves_nothing(
    starter_settings: Settings, tmp_path: Path, engine: str, signal_number: signal.Signals
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    scratch.mkdir()
    settings = Settings(_env_file=None, home_dir=home, device="cpu")
    if engine == "auto":
        shutil.copytree(starter_settings.home, home)
    store = open_store(settings)
    prepare(store, settings)
    folders = {path.name for path in (home / "registry").iterdir()}
    environment = clean_environment(
        LABELSTREAM_HOME_DIR=str(home),
        LABELSTREAM_ENGINE=engine,
        LABELSTREAM_DEVICE="cpu",
        TMPDIR=str(scratch),
    )
    with subprocess.Popen([sys.executable, "-c", LOADING], env=environment) as worker:
        # Of a build, or, where there is no merged model yet, of a merge.
        wait_until(lambda: list(scratch.iterdir()), 60, "it is at work")
        [child] = children(worker.pid)
        assert child.is_alive()
        worker.send_signal(signal_number)
    wait_until(lambda: not child.is_alive(), 60, "its child has left")
    assert list(scratch.iterdir()) == []
    assert {path.name for path in (home / "registry").iterdir()} == folders
    starter = resolve(store, parse_ref("emotion:1"))
    assert list_builds(store, starter) == []
    assert (starter.merged is None) == (engine == "torch")
    assert FileLock(home / LOCK_FILE).acquire()
    store.close()
