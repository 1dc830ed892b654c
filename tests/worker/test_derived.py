"""A process that derives files: ended when it takes too long, and nothing of it stays."""

from pathlib import Path

import pytest

from db.errors import RegistryError
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store
from tests.db.models import new_version
from worker.derived import derive

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
