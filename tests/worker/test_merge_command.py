"""The command that merges: one line each way, and nothing is left over when two merge at once."""

import shutil
import subprocess
import sys
from pathlib import Path

from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import Store
from tests.cluster import clean_environment
from worker.merge import merge_version


def run_merge(settings: Settings, model: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.merge", model],
        env=clean_environment(LABELSTREAM_HOME_DIR=str(settings.home)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_model_that_is_not_there_is_one_line_and_status_2(starter_settings: Settings) -> None:
    done = run_merge(starter_settings, "emotion:7")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no model emotion:7")
    assert done.stderr.count("\n") == 1


def test_what_is_merged_already_is_one_line_and_status_0(starter_settings: Settings) -> None:
    done = run_merge(starter_settings, "emotion:1")
    assert (done.returncode, done.stdout) == (0, "model emotion:1 merged\n"), done.stderr


def test_no_merged_file_names_a_path_of_this_machine(merged: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        content = (merged / name).read_text()
        assert "site-packages" not in content
        assert str(Path.home()) + "/" not in content


def test_of_two_that_merge_at_once_one_is_recorded_and_nothing_is_left_over(
    starter_settings: Settings, starter: Version, tmp_path: Path
) -> None:
    shutil.copytree(starter_settings.home, tmp_path / "home")
    settings = Settings(_env_file=None, home_dir=tmp_path / "home")
    store = Store(settings.store_url)
    (Path(settings.registry) / str(starter.merged) / "config.json").write_text("{}")
    # Both saw the damaged one; the second is done when the first has recorded its own.
    merge_version(store, artifact_store(settings), starter)
    first = resolve(store, parse_ref("emotion:1"))
    merge_version(store, artifact_store(settings), starter)
    assert resolve(store, parse_ref("emotion:1")) == first
    left = {path.name for path in Path(settings.registry).iterdir()}
    assert left == {first.adapter, first.merged}
    store.close()
