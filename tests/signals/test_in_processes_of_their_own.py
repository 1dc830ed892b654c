"""Tests that send signals to their own process, each file in one of its own.

In pytest's own process a signal that came a moment too late would end all tests after it: the files beside
this one are not found by pytest, and run from here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = sorted(
    file.name for file in FOLDER.glob("*.py") if not file.name.startswith(("test_", "__"))
)


@pytest.mark.parametrize("name", FILES)
def test_signals_are_heeded_as_these_files_say(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", str(FOLDER / name)],
        cwd=FOLDER.parent.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
