"""All clocks are the database's, in a form that compares alike on both databases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select

from db.clock import db_now
from db.schema import Lease
from db.store import Store


def test_the_clock_is_utc_and_goes_forth_and_back(store: Store) -> None:
    with store.read() as connection:
        before, now, after = connection.execute(
            select(db_now(-60), db_now().label("now"), db_now(60).label("after"))
        ).one()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=30)
    assert timedelta(seconds=59) < now - before < timedelta(seconds=61)
    assert timedelta(seconds=59) < after - now < timedelta(seconds=61)


def test_the_clock_goes_on_within_a_transaction(store: Store) -> None:
    with store.write() as connection:
        first = connection.scalar(select(db_now()))
        for _ in range(2000):
            if connection.scalar(select(db_now())) != first:
                return
    pytest.fail("the clock stood still during the transaction")


def test_a_bound_time_and_the_clock_compare(store: Store) -> None:
    elsewhere = timezone(timedelta(hours=9))
    soon = datetime.now(elsewhere) + timedelta(minutes=5)
    with store.write() as connection:
        connection.execute(insert(Lease).values(name="duty", holder="me", until=soon))
    with store.read() as connection:
        assert connection.scalar(select(Lease.until)) == soon
        assert connection.scalar(select(Lease.name).where(Lease.until > db_now())) == "duty"
        assert connection.scalar(select(Lease.name).where(Lease.until < db_now(600))) == "duty"
        assert connection.scalar(select(Lease.name).where(Lease.until < db_now())) is None


def test_a_time_without_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="a time without zone"), store.write() as connection:
        connection.execute(
            insert(Lease).values(name="duty", holder="me", until=datetime(2026, 1, 1))
        )
