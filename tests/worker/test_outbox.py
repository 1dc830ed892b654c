"""Sending through Celery: whatever Redis does, it is told soon, and is well again afterwards."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kombu.exceptions import OperationalError

from db.ledger.sweeping import ChunkId
from db.settings import Settings
from tests.cluster import wait_until
from tests.proxy import TcpProxy, proxy_to
from tests.services import start_redis
from worker import celery
from worker.celery import make_app
from worker.outbox import CeleryOutbox, broker_error

CHUNK = ChunkId(1, 1, "labelstream")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A Redis of our own: its configuration is changed here."""
    with (
        start_redis(tmp_path_factory.mktemp("redis")) as url,
        redis.Redis.from_url(url, decode_responses=True) as client,
    ):
        client.flushdb()
        yield client


@pytest.fixture
def proxy(server: redis.Redis) -> Iterator[TcpProxy]:
    at = server.connection_pool.connection_kwargs
    with proxy_to(f"redis://{at['host']}:{at['port']}/{at['db']}") as running:
        yield running


@pytest.fixture
def outbox(proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> CeleryOutbox:
    monkeypatch.setattr(celery, "_ANSWER_SECONDS", 0.5)
    url = f"redis://127.0.0.1:{proxy.port}/0"
    return CeleryOutbox(make_app(url, Settings(_env_file=None)), "ledger")


def uses(outbox: CeleryOutbox) -> list[Callable[[], object]]:
    return [lambda: outbox.send(CHUNK), lambda: outbox.is_empty("labelstream"), outbox.check]


def fails(use: Callable[[], object]) -> str:
    with pytest.raises((OperationalError, OSError, redis.RedisError)) as raised:
        use()
    return broker_error(raised.value)


@pytest.mark.parametrize(
    ("trouble", "says"), [("cut", "Error 32|closed"), ("black_hole", "Timeout")]
)
@pytest.mark.parametrize("connected", [True, False])
def test_a_broker_that_is_cut_or_mute_holds_nobody_up(
    outbox: CeleryOutbox,
    proxy: TcpProxy,
    server: redis.Redis,
    trouble: str,
    says: str,
    connected: bool,
) -> None:
    if connected:
        for use in uses(outbox):
            use()
    getattr(proxy, trouble)()
    for use in uses(outbox):
        assert re.search(says, fails(use))
    proxy.restore()
    before = server.llen("labelstream")
    for use in uses(outbox):
        use()
    assert server.llen("labelstream") > before


def test_a_broker_without_memory_takes_no_messages_and_is_well_again(
    outbox: CeleryOutbox, server: redis.Redis
) -> None:
    outbox.check()
    server.config_set("maxmemory", 1)
    try:
        assert "maxmemory" in fails(lambda: outbox.send(CHUNK))
        assert "maxmemory" in fails(outbox.check)
    finally:
        server.config_set("maxmemory", 0)
    outbox.check()
    outbox.send(CHUNK)
    assert not server.exists("labelstream:nowhere")


def test_a_broker_whose_disk_fails_takes_no_messages_and_is_well_again(
    outbox: CeleryOutbox, server: redis.Redis, tmp_path: Path
) -> None:
    outbox.check()
    folder = str(server.config_get("dir")["dir"])
    gone = tmp_path / "gone"
    gone.mkdir()
    server.config_set("dir", str(gone))
    gone.rmdir()
    server.config_set("save", "3600 1000000")
    server.bgsave()
    try:
        wait_until(lambda: "MISCONF" in _said(outbox.check), 30, "its last snapshot failed")
        said = fails(lambda: outbox.send(CHUNK))
        assert said.startswith("MISCONF Redis is configured to save RDB snapshots")
        assert len(said) <= 120
    finally:
        server.config_set("save", "")
        server.config_set("dir", folder)
    server.bgsave()
    wait_until(lambda: not _said(outbox.check), 30, "it can write again")
    outbox.send(CHUNK)


def _said(use: Callable[[], object]) -> str:
    try:
        use()
    except OperationalError as error:
        return broker_error(error)
    return ""
