"""The channels to Redis: a client for each pool, and notes of what nobody could send again."""

from typing import Any

import pytest
import redis

from db.settings import Settings
from worker import redis_transport
from worker.celery import make_app
from worker.messages import LABEL_CHUNK
from worker.texts_message import LABEL_TEXTS


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


def counts(client: redis.Redis, queue: str) -> tuple[int, int]:
    """Return how many messages wait in a queue, and how many are noted as taken."""
    return client.llen(queue), client.hlen("unacked")


@pytest.mark.parametrize(("task", "noted"), [(LABEL_CHUNK, 0), (LABEL_TEXTS, 1)])
def test_only_what_nobody_could_send_again_is_noted_while_it_is_in_hand(
    redis_url: str, task: str, noted: int
) -> None:
    app = make_app(redis_url, Settings(_env_file=None))
    with redis.Redis.from_url(redis_url) as client, app.connection_for_write() as connection:
        before = client.hlen("unacked")
        for _ in range(3):
            app.send_task(task, args=({},), queue="kept", ignore_result=True)
        queue = connection.SimpleQueue("kept")
        done, given_back, refused = (queue.get(timeout=10) for _ in range(3))
        assert counts(client, "kept") == (0, before + 3 * noted)
        done.ack()
        given_back.requeue()
        refused.reject()
        assert counts(client, "kept") == (1, before)
        again = queue.get(timeout=10)
        assert again.headers["task"] == task
        assert again.headers["id"] == given_back.headers["id"]
        queue.close()
        connection.default_channel.close()
        assert counts(client, "kept") == (1, before), "what is in hand at the end goes back too"


def test_a_message_without_any_headers_is_taken(redis_url: str) -> None:
    app = make_app(redis_url, Settings(_env_file=None))
    with app.connection_for_write() as connection:
        queue = connection.SimpleQueue("odd")
        queue.put({"no": "task"})
        queue.get(timeout=10).ack()
        queue.close()
