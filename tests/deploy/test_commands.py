"""Every command of the compose files exists, starts, and does what it is there for."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.cluster import clean_environment, wait_until
from tests.deploy.compose import BASE, PASSWORDS, load
from worker.embedded.redis_server import find_redis

BIN = Path(sys.executable).parent
SERVICES: dict[str, Any] = load(BASE)["services"]
PASSWORD = PASSWORDS["REDIS_PASSWORD"]

Surroundings = dict[str, str]


def surroundings(**variables: str) -> Surroundings:
    """What a container of ours has: our commands on the PATH."""
    return clean_environment(PATH=f"{BIN}:{os.environ['PATH']}", **variables)


def shell_test(name: str) -> str:
    """The command line of a service's health check."""
    kind, line = SERVICES[name]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    return str(line)


OUR_COMMANDS = {
    "migrate": SERVICES["migrate"]["command"],
    "worker": SERVICES["worker"]["command"],
    "producer": SERVICES["producer"]["entrypoint"],
    "the worker's health check": shlex.split(shell_test("worker")),
}


@pytest.mark.parametrize("command", OUR_COMMANDS.values(), ids=OUR_COMMANDS.keys())
def test_every_command_of_ours_exists_and_starts(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*command, "--help"], env=surroundings(), cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_the_producer_shows_its_help_when_nothing_is_asked_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        SERVICES["producer"]["entrypoint"] + SERVICES["producer"]["command"], env=surroundings(),
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "ingest" in done.stdout


@contextmanager
def composed_redis(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the Redis service's own command; give its process id and port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shell, flag, script = SERVICES["redis"]["command"]
    # The one difference from the container: which server, and where it listens and writes.
    server = f"{find_redis().path} --port {port} --bind 127.0.0.1 --dir {shlex.quote(str(folder))}"
    assert script.count("redis-server") == 1
    with (folder / "redis.log").open("w") as log:
        process = subprocess.Popen(
            [shell, flag, script.replace("redis-server", server)],
            env=surroundings(**SERVICES["redis"]["environment"]),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(lambda: _listens(port), 20, "Redis listens")
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_redis_asks_for_the_password_and_shows_it_in_no_process(tmp_path: Path) -> None:
    with composed_redis(tmp_path) as (pid, port):
        with (
            redis.Redis(port=port) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        with redis.Redis(port=port, password=PASSWORD) as client:
            assert client.ping()
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        process = psutil.Process(pid)
        # The shell has become Redis: signals reach it.
        assert process.name() == "redis-server"
        family = [process, *process.children(recursive=True)]
        assert not any(PASSWORD in argument for one in family for argument in one.cmdline())
    assert PASSWORD not in (tmp_path / "redis.log").read_text()


def test_the_health_check_of_redis_knows_the_password_and_notices_a_wrong_one(
    tmp_path: Path,
) -> None:
    client = Path(find_redis().path).with_name("redis-cli")
    if not client.exists():
        pytest.skip(f"no redis-cli beside {find_redis().path}")
    with composed_redis(tmp_path) as (_, port):
        line = shell_test("redis").replace("redis-cli", f"{client} -p {port}")

        def healthy(password: str) -> bool:
            done = subprocess.run(
                ["sh", "-c", line], env=surroundings(REDISCLI_AUTH=password),
                capture_output=True, timeout=30, check=False,
            )  # fmt: skip
            return done.returncode == 0

        assert healthy(PASSWORD)
        assert not healthy("another")


def test_the_stack_migrates_and_its_worker_answers_the_health_check_until_it_ends(
    tmp_path: Path,
) -> None:
    with composed_redis(tmp_path) as (_, port):
        settings = {
            "LABELSTREAM_DATABASE_URL": f"sqlite:///{tmp_path / 'store.db'}",
            "LABELSTREAM_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{port}/0",
            "LABELSTREAM_REGISTRY_DIR": str(tmp_path / "registry"),
            "LABELSTREAM_HOME_DIR": str(tmp_path / "home"),
            # No model has to be merged for it.
            "LABELSTREAM_ENGINE": "constant",
            "HOSTNAME": socket.gethostname(),
        }
        environment = surroundings(**settings)
        subprocess.run(
            SERVICES["migrate"]["command"], env=environment, cwd=tmp_path, check=True, timeout=60
        )

        def healthy() -> bool:
            done = subprocess.run(
                ["sh", "-c", shell_test("worker")], env=environment, cwd=tmp_path,
                capture_output=True, timeout=60, check=False,
            )  # fmt: skip
            return done.returncode == 0

        assert not healthy()
        with (tmp_path / "worker.log").open("w") as log:
            worker = subprocess.Popen(
                SERVICES["worker"]["command"], env=environment, cwd=tmp_path,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(healthy, 120, "the worker answers")
        finally:
            worker.terminate()
            worker.wait(timeout=40)
        assert not healthy()
        assert PASSWORD not in (tmp_path / "worker.log").read_text()
