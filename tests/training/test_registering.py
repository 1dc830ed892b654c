"""Many register at once, some die while they do: versions are whole, numbered without gap."""

import subprocess
import sys
from pathlib import Path

import pytest

from db.registry.aliases import list_aliases
from db.registry.orphans import sweep_orphans
from db.registry.versions import list_versions
from db.store import Store
from tests.cluster import clean_environment
from tests.registry_files import RegistryFiles, artifacts_at
from worker.starter import ADAPTER

SCRIPT = Path(__file__).with_name("registering_process.py")


def start(store: Store, registry: str, home: Path, *kill: str) -> "subprocess.Popen[str]":
    """Start a process that registers the starter's adapter as `mood` when it is told to."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, store.url, registry, home, ADAPTER, "mood", *kill],
        env={**clean_environment(), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_ten_processes_that_register_at_once_make_ten_versions(
    store: Store, tmp_path: Path
) -> None:
    registry = str(tmp_path / "registry")
    processes = [start(store, registry, tmp_path / "home") for _ in range(10)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert said == sorted(f"mood:{number}" for number in range(1, 11))
    versions = list_versions(store, "mood")
    assert [each.version for each in versions] == list(range(1, 11))
    assert len({each.adapter for each in versions}) == 10
    assert {each.adapter for each in versions} == RegistryFiles(registry).folders()
    for each in versions:
        artifacts_at(registry, tmp_path).check(each.adapter, each.adapter_sha256)
    # The one that was first, whichever it was, went into production.
    assert list_aliases(store) == {("mood", "production"): 1}


@pytest.mark.parametrize("kill", ["copy", "commit"])
def test_a_process_killed_while_it_registers_leaves_no_version(
    store: Store, tmp_path: Path, kill: str
) -> None:
    is_killed_while_it_registers(store, str(tmp_path / "registry"), tmp_path / "home", kill)


@pytest.mark.parametrize("kill", ["copy", "commit"])
def test_nor_does_one_that_registers_in_an_object_store(
    sqlite_store: Store, bucket: str, tmp_path: Path, kill: str
) -> None:
    is_killed_while_it_registers(sqlite_store, f"{bucket}/models", tmp_path / "home", kill)


def is_killed_while_it_registers(store: Store, address: str, home: Path, kill: str) -> None:
    registry = RegistryFiles(address)
    killed = start(store, address, home, kill)
    killed.communicate("go\n", timeout=120)
    assert killed.returncode == -9
    assert list_versions(store, "mood") == []
    (left,) = registry.folders()
    artifacts = artifacts_at(address, home)
    assert sweep_orphans(store, artifacts) == []

    # The next one gets number 1, as if nothing had been.
    again = start(store, address, home)
    assert again.communicate("go\n", timeout=120)[0].strip() == "mood:1"
    for hours, swept in ((23.9, []), (24.1, [left])):
        assert sweep_orphans(store, artifacts_at(address, home, hours=hours)) == swept
    (version,) = list_versions(store, "mood")
    assert registry.folders() == {version.adapter}
    artifacts.verified(version.adapter, version.adapter_sha256)
