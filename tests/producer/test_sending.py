"""A broker that is away: said once, asked again and again, given up in the end."""

import itertools
import time

import pytest

from db.errors import ServiceUnavailable
from db.store import Store
from producer.sending import BrokerWatch, Sender
from tests.cluster import wait_until
from tests.db.ledger_parts import add, begin, value
from tests.producer.test_feeding import Sent


class Broker:
    """Answers, or does not; counts how often it was asked."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0

    def check(self) -> None:
        self.asked += 1
        if self.away:
            raise ConnectionError("Connection refused")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def told() -> list[str]:
    return []


def watch(broker: Broker, told: list[str], patience: float = 60) -> BrokerWatch:
    return BrokerWatch(broker.check, "redis", patience=patience, tell=told.append, every=0.01)


def test_a_broker_that_dies_while_nothing_is_sent_is_noticed_and_so_is_its_return(
    broker: Broker, told: list[str]
) -> None:
    with watch(broker, told) as watching:
        wait_until(lambda: broker.asked > 2, 30, "it is asked again and again")
        assert told == []
        broker.away = True
        wait_until(lambda: watching.away, 30, "it is noticed")
        asked = broker.asked
        wait_until(lambda: broker.asked > asked + 2, 30, "it is asked again and again")
        broker.away = False
        wait_until(lambda: not watching.away, 30, "it is back")
    away, back = told
    assert away.startswith("broker redis takes no messages (Connection refused); trying again")
    assert back == "broker redis takes messages again"


def test_it_is_given_up_after_the_patience_while_nothing_is_labelled(
    broker: Broker, told: list[str]
) -> None:
    broker.away = True
    with watch(broker, told, patience=1) as watching:
        wait_until(lambda: watching.away, 30, "it is noticed")
        watching.judge(1)
        # As long as workers have rows left, the job goes on.
        rows = itertools.count(2)
        began = time.monotonic()
        while time.monotonic() < began + 2:
            watching.judge(next(rows))
        with pytest.raises(ServiceUnavailable, match=r"\(Connection refused\) .* continue the job"):
            wait_until(lambda: watching.judge(1), 30, "it is given up")


def test_a_broker_that_is_back_in_time_is_not_given_up(broker: Broker, told: list[str]) -> None:
    broker.away = True
    with watch(broker, told, patience=0.001) as watching:
        wait_until(lambda: watching.away, 30, "it is noticed")
        broker.away = False
        wait_until(lambda: not watching.away, 30, "it is back")
        watching.judge(1)


def test_without_a_broker_nothing_is_tried_for_each_chunk(
    store: Store, broker: Broker, told: list[str]
) -> None:
    writer = begin(store)
    outbox = Sent()
    watching = watch(broker, told)
    sender = Sender(writer, outbox, "labelstream", watching)
    sender.send(add(writer, 1, 2))
    watching.failed(TimeoutError("Timeout reading from socket"))
    sender.send(add(writer, 3, 2))
    assert [chunk.number for chunk in outbox.chunks] == [1]
    writer.mark_sent()
    assert value(store, "SELECT count(*) FROM chunks WHERE sent_at IS NULL") == 1
    with watching:
        wait_until(lambda: not watching.away, 30, "it answers the next look")
    sender.send(add(writer, 5, 2))
    assert [chunk.number for chunk in outbox.chunks] == [1, 3]
