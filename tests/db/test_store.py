"""The one place that opens the database: transactions, and what is tried again."""

import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.errors import ServiceUnavailable, UsageError
from db.settings import Settings
from db.store import Store, error_kind, may_pass, open_store
from tests.db.at_once import at_once
from tests.db.breaking import Breaking
from tests.db.ledger_parts import change, value

INSERT = "INSERT INTO leases (name, holder, until) VALUES (:name, 'me', '2026-01-01 00:00:00+00')"


@pytest.mark.parametrize("when", ["before", "after_commit_of"])
def test_a_connection_that_breaks_is_tried_again(postgres_store: Store, when: str) -> None:
    told: list[str] = []
    breaking = Breaking(postgres_store)
    getattr(breaking, when)("UPDATE")
    change(postgres_store, INSERT, name="duty")
    postgres_store.retrying(
        lambda: change(postgres_store, "UPDATE leases SET holder = 'you'"),
        on_trouble=told.append,
    )
    assert breaking.broken == 1
    assert value(postgres_store, "SELECT holder FROM leases") == "you"
    assert len(told) == 2
    assert "trying again" in told[0]
    assert told[1] == f"database {postgres_store.name} works again"


def test_an_error_that_will_not_pass_is_raised_at_once(store: Store) -> None:
    change(store, INSERT, name="duty")
    tries = []

    def twice() -> None:
        tries.append(1)
        change(store, INSERT, name="duty")

    with pytest.raises(IntegrityError) as raised:
        store.retrying(twice)
    assert len(tries) == 1
    assert not may_pass(raised.value)
    assert "duty" not in error_kind(raised.value)


def test_what_does_not_pass_in_time_is_one_line_without_the_statement(store: Store) -> None:
    def fails() -> None:
        raise DBAPIError("INSERT a text", {}, sqlite3.OperationalError("a text"), False, True)

    with pytest.raises(ServiceUnavailable, match="failed for 0 s") as raised:
        store.retrying(fails, seconds=0)
    assert "a text" not in str(raised.value)
    give_up = threading.Event()
    give_up.set()
    with pytest.raises(ServiceUnavailable):
        store.retrying(fails, give_up=give_up)


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def insert_twice() -> None:
        with store.write() as connection:
            connection.execute(text(INSERT), {"name": "one"})
            connection.execute(text(INSERT), {"name": "one"})

    with pytest.raises(IntegrityError):
        insert_twice()
    assert value(store, "SELECT count(*) FROM leases") == 0


def test_eight_writers_at_once_all_write(store: Store) -> None:
    def write_many(name: str) -> None:
        for number in range(20):
            with store.write() as connection:
                count = connection.execute(text("SELECT count(*) FROM leases")).scalar_one()
                assert count >= 0
                connection.execute(text(INSERT), {"name": f"{name}{number}"})

    assert at_once([partial(write_many, name) for name in "abcdefgh"]) == [None] * 8
    assert value(store, "SELECT count(*) FROM leases") == 160


def test_an_error_never_shows_the_values_of_its_statement(store: Store) -> None:
    with pytest.raises(DBAPIError) as raised:
        change(store, "INSERT INTO leases (name, holder) VALUES (:name, 'me')", name="a row's text")
    shown = str(raised.value).splitlines()[0] + error_kind(raised.value)
    assert "a row's text" not in shown
    assert "[SQL parameters hidden" in str(raised.value)


def test_sqlite_keeps_a_log_beside_and_checks_references(sqlite_store: Store) -> None:
    assert value(sqlite_store, "PRAGMA journal_mode") == "wal"
    assert value(sqlite_store, "PRAGMA foreign_keys") == 1
    with pytest.raises(IntegrityError):
        change(
            sqlite_store,
            "INSERT INTO rejects (job_id, row_number, reason) VALUES (99, 1, 'no such job')",
        )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:s3cret@host/name", "database mysql is not supported"),
        ("no url s3cret", "the database URL cannot be read"),
        ("sqlite://", "in memory loses every row"),
        ("sqlite:///:memory:", "in memory loses every row"),
    ],
)
def test_a_url_of_no_store_is_refused_in_one_line(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        Store(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("form", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_usual_form_of_the_url_is_taken_and_shown_without_password(form: str) -> None:
    store = Store(f"{form}://me:s3cret@host:5432/name")
    assert store.dialect == "postgresql"
    assert store.url == "postgresql+psycopg://me:s3cret@host:5432/name"
    assert store.name == "postgresql+psycopg://me:***@host:5432/name"


def test_a_database_that_is_away_is_one_line_without_password() -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be used") as raised:
        Store("postgresql://me:s3cret@127.0.0.1:9/name").check(seconds=0.5)
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/file/below/store.db")
    with pytest.raises(UsageError, match="folder of the database cannot be made"):
        open_store(settings)
