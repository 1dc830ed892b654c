"""Task events: nobody waits for them."""

import threading
from collections.abc import Iterator

import pytest
import redis

from db.settings import Settings
from tests.cluster import wait_until
from tests.proxy import TcpProxy, proxy_to
from worker import celery
from worker.celery import make_app


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    with proxy_to(redis_url) as running:
        yield running


def test_events_are_dropped_while_redis_is_mute_and_sent_when_it_is_back(
    proxy: TcpProxy, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery, "_ANSWER_SECONDS", 0.3)
    app = make_app(proxy.url(redis_url), Settings(_env_file=None))
    with app.connection_for_write() as connection:
        events = app.events.Dispatcher(connection, hostname="w")
        events.send("worker-online")
        proxy.black_hole()
        # As Celery sends its sign of life: to be tried again for ever.
        sending = threading.Thread(
            target=lambda: [events.send("worker-heartbeat", retry=True) for _ in range(500)],
            daemon=True,
        )
        sending.start()
        sending.join(30)
        assert not sending.is_alive()
        proxy.restore()
        events._silent_until = 0.0
        with redis.Redis.from_url(redis_url) as direct, direct.pubsub() as heard:
            heard.psubscribe("*celeryev*")
            wait_until(lambda: heard.get_message(timeout=1), 30, "subscribed")
            events.send("worker-offline")

            def is_heard() -> bool:
                message = heard.get_message(timeout=1)
                return message is not None and b"worker.offline" in (message["data"] or b"")

            wait_until(is_heard, 30, "the next event is heard")
