"""Who a process is: a living one is never taken for dead, nor for another."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from db.processes import is_gone, own_name
from tests.cluster import wait_until

#: Tells its name, and lives until its input ends.
TELLS_ITS_NAME = (
    "import sys; from db.processes import own_name; print(own_name()); sys.stdin.read()"
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing is concluded of any process"
)


@contextmanager
def running(
    *before: str, code: str = TELLS_ITS_NAME
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a process, behind the command `before` if one is given; give it and its name."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def test_a_process_is_gone_when_it_has_ended_and_not_before() -> None:
    with running() as (process, name):
        host, _, rest = name.rpartition(":")
        assert host == os.uname().nodename
        assert rest.startswith(f"{process.pid}/"), "people read its pid"
        assert not is_gone(name)
    assert is_gone(name)
    assert not is_gone(own_name())


def test_a_process_that_is_stopped_lives() -> None:
    with running() as (process, name):
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_of(process.pid) == "T", 20, "it is stopped")
        assert not is_gone(name)


def test_a_process_that_was_killed_is_gone_though_its_parent_has_not_looked() -> None:
    with running() as (process, name):
        process.kill()
        wait_until(lambda: state_of(process.pid) == "Z", 20, "it is a zombie")
        assert is_gone(name)


def test_who_had_our_pid_before_us_is_gone() -> None:
    before, _, ticks = own_name().rpartition(".")
    assert is_gone(f"{before}.{int(ticks) - 1}")


@pytest.mark.parametrize(
    "name",
    [
        "producer-1",
        "",
        f"{os.uname().nodename}:{2**22 + 1}",
        f"{os.uname().nodename}:{2**22 + 1}/0123456789ab.17",
        own_name().replace(os.uname().nodename, "another-host").replace(".", ".1"),
    ],
    ids=["no process", "nothing", "an older name", "another boot or namespace", "another host"],
)
def test_nothing_is_concluded_of_a_process_that_cannot_be_seen_from_here(name: str) -> None:
    assert not is_gone(name)


@pytest.fixture
def own_pids() -> list[str]:
    """Return what runs a command in a pid namespace of its own, like a container."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if (
        os.geteuid()
        or shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("a pid namespace of our own cannot be made here")
    return unshare


def test_containers_with_one_host_name_conclude_nothing_of_each_other(own_pids: list[str]) -> None:
    asks = (
        "import sys; from db.processes import is_gone, own_name; print(own_name());"
        "print([is_gone(line.strip()) for line in sys.stdin])"
    )
    with running(*own_pids) as (_, first), running(*own_pids, code=asks) as (second, name):
        assert first.partition("/")[0] == name.partition("/")[0], "the same host and the same pid"
        assert not is_gone(first)
        # From within: the other container, this process outside, and its own past.
        past, _, ticks = name.rpartition(".")
        said, _ = second.communicate(f"{first}\n{own_name()}\n{past}.{int(ticks) - 1}\n")
        assert said.strip() == "[False, False, True]"
    assert not is_gone(first), "though no such process is left"


def test_of_another_users_process_that_cannot_be_looked_at_nothing_is_concluded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running() as (process, name):
        # As with /proc mounted `hidepid=2`: it is there, but its files are not.
        monkeypatch.setattr("db.processes._state_and_start", lambda _: None)
        assert not is_gone(name)
        assert process.poll() is None
