"""The channels to Redis: a client for each pool, not one for each operation."""

from typing import Any

import pytest

from db.settings import Settings
from worker import redis_transport
from worker.celery import make_app


def client_of(channel: Any) -> Any:
    with channel.conn_or_acquire() as client:
        return client


def test_a_channel_keeps_its_client_until_its_pool_is_another(redis_url: str) -> None:
    app = make_app(redis_url, Settings(_env_file=None))
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        first = client_of(channel)
        assert first.ping()
        assert client_of(channel) is first
        with channel.conn_or_acquire("a client that is given") as given:
            assert given == "a client that is given"
        channel._disconnect_pools()
        second = client_of(channel)
        assert second is not first
        assert second.ping()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://h:1/0", "redis+socket:///s"])
def test_every_way_to_write_redis_means_these_channels(url: str) -> None:
    connection = make_app(url, Settings(_env_file=None)).connection_for_write()
    assert isinstance(connection.transport, redis_transport.Transport)
    assert connection.transport.Channel is redis_transport.Channel
