"""Connections to PostgreSQL that are cut, and servers that take them and say nothing."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db import postgres
from db.copy_text import copy_text
from db.errors import ServiceUnavailable
from db.ledger import sweeping, writing
from db.ledger.sweeping import Sweep, Sweeper
from db.store import Store, may_pass
from tests.cluster import wait_until
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, past, result_of, value
from tests.db.test_sweeping import ListOutbox
from tests.proxy import TcpProxy, proxy_to

INSERT = "INSERT INTO leases (name, holder, until) VALUES (:name, 'me', '2026-01-01 00:00:00+00')"


@pytest.fixture
def proxy(postgres_store: Store) -> Iterator[TcpProxy]:
    with proxy_to(postgres_store.url) as running:
        yield running


@pytest.fixture
def far(proxy: TcpProxy, postgres_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Open the store through the proxy, and let its silences be short."""
    monkeypatch.setattr(postgres, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)
    store = Store(proxy.url(postgres_store.url))
    store.check()
    yield store
    proxy.restore()
    store.close()


def test_a_cut_connection_is_told_once_and_so_is_its_return(far: Store, proxy: TcpProxy) -> None:
    told: list[str] = []

    def insert() -> None:
        far.retrying(lambda: change(far, INSERT, name="duty"), on_trouble=told.append)

    def select() -> None:
        far.retrying(lambda: value(far, "SELECT 1"), on_trouble=told.append)

    proxy.cut()
    threads = [threading.Thread(target=work) for work in (insert, select)]
    for thread in threads:
        thread.start()
    wait_until(lambda: told, 30, "somebody tells that the database is away")
    accepted = proxy.accepted
    wait_until(lambda: proxy.accepted >= accepted + 3, 60, "it is tried again and again")
    proxy.restore()
    for thread in threads:
        thread.join(60)
    assert len(told) == 2, told
    assert "; trying again for 300 s" in told[0]
    assert told[1].endswith("works again")
    assert value(far, "SELECT count(*) FROM leases") == 1


def test_a_statement_on_a_mute_server_comes_to_an_end(far: Store, proxy: TcpProxy) -> None:
    def transaction() -> None:
        with far.write() as connection:
            connection.execute(text("SELECT count(*) FROM leases"))
            proxy.black_hole()
            connection.execute(text(INSERT), {"name": "duty"})

    with pytest.raises(OperationalError, match="has not answered for") as failed:
        transaction()
    assert may_pass(failed.value)
    proxy.restore()
    assert far.retrying(lambda: value(far, "SELECT count(*) FROM leases")) == 0


def test_a_mute_server_is_given_up_after_the_patience(
    far: Store, proxy: TcpProxy, postgres_store: Store
) -> None:
    proxy.black_hole()
    with pytest.raises(ServiceUnavailable, match=r"failed for \d+ s .* then continue the job"):
        far.retrying(lambda: value(far, "SELECT 1"), seconds=1)
    with pytest.raises(ServiceUnavailable, match="cannot be used: connection timeout expired"):
        Store(proxy.url(postgres_store.url)).check(seconds=1)
    proxy.restore()
    far.check()


def test_a_statement_may_be_silent_for_as_long_as_it_needs(far: Store, proxy: TcpProxy) -> None:
    accepted = proxy.accepted
    assert value(far, "SELECT 'slow' FROM pg_sleep(2.5)") == "slow"
    assert proxy.accepted >= accepted + 2, "the server was asked whether it lives, more than once"


def test_what_is_waited_for_under_a_lock_is_no_silence_of_the_server(
    far: Store, postgres_store: Store, proxy: TcpProxy
) -> None:
    change(postgres_store, INSERT, name="duty")
    accepted = proxy.accepted
    updating = threading.Thread(
        target=change, args=(far, "UPDATE leases SET holder = 'you' WHERE name = 'duty'")
    )
    with postgres_store.write() as connection:
        connection.execute(text("SELECT 1 FROM leases FOR UPDATE"))
        updating.start()
        # One connection is the update's own.
        wait_until(lambda: proxy.accepted >= accepted + 3, 30, "the server was asked twice")
        assert updating.is_alive()
    updating.join(30)
    assert value(far, "SELECT holder FROM leases") == "you"


def test_options_of_the_url_are_kept(postgres_url: str) -> None:
    extra = "&" if "?" in postgres_url else "?"
    options = "options=-c%20lock_timeout%3D7s&connect_timeout=9&application_name=mine"
    store = Store(f"{postgres_url}{extra}{options}")
    assert value(store, "SHOW lock_timeout") == "7s"
    assert value(store, "SHOW timezone") == "UTC"
    assert value(store, "SHOW application_name") == "mine"
    store.close()


def test_a_lease_that_ran_out_while_the_database_was_away_may_still_be_renewed(
    far: Store, proxy: TcpProxy, postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "LEASE_SECONDS", 1.0)
    writer = begin(postgres_store)
    kept, lost = (held(postgres_store, writer.job, add(writer, first, 2)) for first in (1, 3))
    sweeper = Sweeper(far, ListOutbox(), "me")
    proxy.cut()
    with pytest.raises(OperationalError):
        sweeper.sweep()
    change(postgres_store, f"UPDATE chunks SET lease_until = {past(postgres_store, 1)}")
    change(postgres_store, f"UPDATE jobs SET producer_lease_until = {past(postgres_store, 1)}")
    proxy.restore()
    assert sweeper.sweep() == Sweep(), "nobody could renew, so nobody is taken for dead"
    writer.renew()
    assert close_chunk(far, kept, result_of(kept)) is True
    wait_until(lambda: sweeper.sweep() != Sweep(), 30, "the time for renewals is over")
    assert close_chunk(far, lost, result_of(lost)) is False
    assert value(far, "SELECT claims FROM chunks WHERE state = 'done'") == 1


@pytest.mark.parametrize("rest", [0.0, 60.0], ids=["at rest", "just now"])
def test_a_connection_that_broke_is_replaced_before_it_is_used(
    far: Store, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(postgres, "_REST_SECONDS", rest)
    assert value(far, "SELECT 1") == 1
    proxy.cut()
    proxy.restore()
    assert value(far, "SELECT 1") == 1, "nobody has to try again"


@pytest.mark.parametrize(("rest", "tries"), [(0.0, 1), (60.0, 2)], ids=["at rest", "just now"])
def test_what_is_tried_again_anyway_does_not_try_a_connection_that_was_just_used(
    far: Store, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, rest: float, tries: int
) -> None:
    monkeypatch.setattr(postgres, "_REST_SECONDS", rest)
    assert value(far, "SELECT 1") == 1
    proxy.cut()
    proxy.restore()
    tried: list[int] = []

    def select() -> int:
        tried.append(1)
        return int(value(far, "SELECT 1"))

    assert far.retrying(select) == 1
    assert len(tried) == tries


def test_a_connection_that_is_cut_in_the_middle_of_a_copy_loses_and_doubles_no_row(
    far: Store, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(far)
    taken = held(far, writer.job, add(writer, 1, 300))
    writer.exhaust()
    cuts: list[int] = []

    def cut_once(*given: Any) -> str:
        if not cuts:
            # COPY has begun on the server, and the chunk is marked as done in its transaction.
            cuts.append(1)
            proxy.cut()
            proxy.restore()
        return copy_text(*given)

    monkeypatch.setattr(writing, "copy_text", cut_once)
    assert far.retrying(lambda: close_chunk(far, taken, result_of(taken)))
    assert cuts
    assert value(far, "SELECT count(*) FROM labeled_texts") == 300
    assert value(far, "SELECT count(*) FROM rejects") == 0
    assert value(far, "SELECT sum(labeled) FROM chunks WHERE state = 'done'") == 300
    assert value(far, "SELECT state FROM jobs") == "done"
