"""How a command ends that is told to end: in order, at whatever moment, and with a status that holds."""

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    code = f"import atexit, signal\nfrom db.errors import run_command\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_command_that_is_told_to_end_is_interrupted_and_says_so(name: str) -> None:
    done = run(f"run_command(lambda **_: signal.raise_signal(signal.{name}))")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_comes_after_the_end_changes_no_status(name: str) -> None:
    done = run(
        f"atexit.register(signal.raise_signal, signal.{name})\n"
        "run_command(lambda **_: print('all is done'))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all is done\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_is_ignored_from_outside_stays_ignored(name: str) -> None:
    done = run(
        f"signal.signal(signal.{name}, signal.SIG_IGN)\n"
        f"run_command(lambda **_: signal.raise_signal(signal.{name}))"
    )
    assert (done.returncode, done.stderr) == (0, "")
