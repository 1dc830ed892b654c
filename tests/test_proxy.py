"""The proxy of the tests does to a connection what it says."""

from collections.abc import Iterator

import pytest
import redis
from sqlalchemy.exc import OperationalError

from db.store import Store
from tests.cluster import wait_until
from tests.proxy import TcpProxy, proxy_to


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    with proxy_to(redis_url) as running:
        yield running


def client(proxy: TcpProxy, redis_url: str, timeout: float = 60) -> redis.Redis:
    return redis.Redis.from_url(proxy.url(redis_url), socket_timeout=timeout, retry=None)


def test_a_cut_breaks_what_is_connected_and_what_connects(proxy: TcpProxy, redis_url: str) -> None:
    connected = client(proxy, redis_url)
    assert connected.ping()
    proxy.cut()
    for broken in (connected, client(proxy, redis_url)):
        with pytest.raises(redis.ConnectionError):
            broken.ping()
    proxy.restore()
    assert connected.ping()


def test_a_black_hole_takes_connections_and_answers_nothing(
    proxy: TcpProxy, redis_url: str
) -> None:
    connected, later = client(proxy, redis_url, 0.5), client(proxy, redis_url, 0.5)
    assert connected.ping()
    proxy.black_hole()
    for silent in (connected, later):
        with pytest.raises(redis.TimeoutError):
            silent.incr("held back")
    assert proxy.accepted >= 2
    with redis.Redis.from_url(redis_url, decode_responses=True) as direct:
        assert direct.get("held back") is None
        proxy.restore()
        wait_until(lambda: direct.get("held back"), 30, "what was held back arrives")


def test_postgresql_is_reached_through_it(postgres_url: str) -> None:
    with proxy_to(postgres_url) as proxy:
        store = Store(proxy.url(postgres_url))
        store.check()
        proxy.cut()
        with pytest.raises(OperationalError), store.read():
            pass
        proxy.restore()
        store.check()
        store.close()
