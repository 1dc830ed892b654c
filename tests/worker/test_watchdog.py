"""A process that hangs in native code ends itself, whatever its other threads do meanwhile."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest


def run(body: str, within: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    code = f"""
import threading, time
from worker.watchdog import Watchdog

watchdog = Watchdog(1.0)

def hang(seconds=None):
    with watchdog.guarding(seconds):
        time.sleep(60)

def work():
    with watchdog.guarding():
        time.sleep(0.01)

{body}
"""
    return subprocess.run(
        [*within, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_call_that_hangs_ends_the_process_though_others_come_and_go() -> None:
    done = run(
        "threading.Thread(target=work).start()\n"
        "threading.Thread(target=hang, daemon=True).start()\n"
        "while True:\n    work()"
    )
    assert done.returncode == -signal.SIGALRM
    assert "in hang" in done.stderr


def test_a_call_that_began_later_has_its_own_time() -> None:
    done = run(
        "with watchdog.guarding():\n"
        "    threading.Thread(target=hang, daemon=True).start()\n"
        "    time.sleep(0.5)\n"
        "threading.Event().wait(30)"
    )
    assert done.returncode == -signal.SIGALRM
    assert "in hang" in done.stderr


def test_a_call_with_a_time_of_its_own_has_that() -> None:
    done = run(
        "threading.Thread(target=hang, args=(300,), daemon=True).start()\n"
        "for _ in range(3):\n    work()\n"
        "time.sleep(1.5)\n"
        "print('still here', flush=True)\n"
        "with watchdog.guarding(200):\n"
        "    hang(0.2)"
    )
    assert (done.returncode, done.stdout) == (-signal.SIGALRM, "still here\n")
    assert "in hang" in done.stderr


def test_calls_that_come_back_in_time_end_nothing() -> None:
    done = run("for _ in range(3):\n    work()\ntime.sleep(1.5)\nprint('still here')")
    assert (done.returncode, done.stdout) == (0, "still here\n")


def test_the_first_process_of_a_container_ends_too() -> None:
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no process namespace can be made here: {error}")
    done = run("import os\nassert os.getpid() == 1\nwork()\nhang()", alone)
    assert done.returncode == 1
    assert "in hang" in done.stderr


def test_without_a_limit_nothing_is_ended() -> None:
    done = run("watchdog = Watchdog(None)\nwith watchdog.guarding():\n    time.sleep(1.5)")
    assert (done.returncode, done.stderr) == (0, "")
