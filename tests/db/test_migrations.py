"""The tables come from migrations alone, and a database that does not fit is refused."""

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from db.corrections import withdraw
from db.errors import ServiceUnavailable
from db.migrate import _config, check_revision, current_revision, newest_revision, upgrade
from db.registry.versions import add_version
from db.schema import Base
from db.store import Store
from tests.cluster import clean_environment
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.labels import label_row
from tests.db.ledger_parts import add, begin, change, held, result_of, value
from tests.db.models import new_version


@pytest.fixture
def empty(database_url: str) -> Store:
    return Store(database_url)


def test_the_migrations_make_what_the_schema_says(store: Store) -> None:
    def is_of_this_database(_: Any, name: str, kind: str, reflected: bool, *__: Any) -> bool:
        # Alembic makes nothing of a constraint's `ddl_if`.
        of_sqlite_alone = (kind, name) == ("foreign_key_constraint", "fk_labeled_texts_jobs")
        return reflected or store.dialect == "sqlite" or not of_sqlite_alone

    options = {"compare_type": True, "include_object": is_of_this_database}
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_what_alembic_does_not_compare_is_there_too(store: Store) -> None:
    # Constraints and indexes that are for one database alone, or for some rows.
    tables = inspect(store.engine)
    keys = [key["name"] for key in tables.get_foreign_keys("labeled_texts")]
    assert keys == (["fk_labeled_texts_jobs"] if store.dialect == "sqlite" else [])
    found = {index["name"]: index for table in ("chunks", "labeled_texts")
             for index in tables.get_indexes(table)}  # fmt: skip
    partial = {
        name for name, index in found.items()
        if index.get("dialect_options", {}).get(f"{store.dialect}_where") is not None
    }  # fmt: skip
    assert partial == {
        "ix_chunks_job_id_done_at",
        "ix_chunks_queue_sent_claimed",
        "ix_labeled_texts_id_key",
        "ix_labeled_texts_text_key",
    }


def test_a_job_cannot_be_deleted_under_its_rows(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 2))
    assert close_chunk(store, taken, result_of(taken))
    with pytest.raises(IntegrityError):
        change(store, "DELETE FROM jobs")


def upgrade_to(store: Store, revision: str) -> None:
    with store.write() as connection:
        command.upgrade(_config(connection), revision)


def every(store: Store, query: str) -> list[Any]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_corrections_of_before_are_all_there_and_can_be_withdrawn_now(empty: Store) -> None:
    upgrade_to(empty, "0004")
    add_version(empty, new_version(), who="me")
    begin(empty)
    for row in (1, 2, 3):
        label_row(empty, 1, row, "joy")
    for row, label, who in ((1, "anger", "ann"), (2, "joy", "bob"), (1, "joy", "bob")):
        change(
            empty,
            "INSERT INTO corrections (job_id, row_number, label, annotator, at) "
            "VALUES (1, :row, :label, :who, :at)",
            row=row, label=label, who=who, at=f"2026-01-31 12:0{row}:00.000000",
        )  # fmt: skip
    change(empty, "CREATE VIEW mine AS SELECT row_number, label, corrected FROM current_labels")
    log = "SELECT id, job_id, row_number, label, annotator, at FROM corrections ORDER BY id"
    view = "SELECT * FROM current_labels ORDER BY row_number"
    before = every(empty, log), every(empty, view), every(empty, "SELECT * FROM mine")
    assert len(before[0]) == 3
    assert upgrade(empty) is True
    assert (every(empty, log), every(empty, view), every(empty, "SELECT * FROM mine")) == before
    assert withdraw(empty, 1, 1, "bob")
    mine = "SELECT label FROM mine ORDER BY row_number"
    assert every(empty, mine) == [("anger",), ("joy",), ("joy",)], "somebody's own view is there"
    assert every(empty, "SELECT id, label, strategy FROM corrections ORDER BY id")[-1] == (
        4,
        None,
        None,
    )
    with pytest.raises(IntegrityError):
        change(empty, "DELETE FROM labeled_texts WHERE row_number = 1")
    empty.close()


def test_a_second_upgrade_does_nothing(empty: Store) -> None:
    assert upgrade(empty) is True
    ledger = value(empty, "SELECT id FROM ledger")
    assert upgrade(empty) is False
    assert value(empty, "SELECT id FROM ledger") == ledger
    assert current_revision(empty) == newest_revision()
    empty.close()


def test_of_two_upgrades_at_once_one_migrates_and_neither_fails(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(4)]
    outcomes = at_once([partial(upgrade, store) for store in stores])
    assert all(isinstance(outcome, bool) for outcome in outcomes), outcomes
    assert value(stores[0], "SELECT count(*) FROM ledger") == 1
    check_revision(stores[0])
    for store in stores:
        store.close()


def test_a_newer_database_is_refused_and_left_alone(store: Store) -> None:
    change(store, "UPDATE alembic_version SET version_num = '9999'")
    for refuse in (upgrade, check_revision):
        with pytest.raises(ServiceUnavailable, match="migrated by a newer Labelstream"):
            refuse(store)
    assert current_revision(store) == "9999"


def test_a_database_without_tables_is_refused_with_advice(empty: Store) -> None:
    with pytest.raises(ServiceUnavailable, match="has no tables yet; run: python -m db upgrade"):
        check_revision(empty)
    empty.close()


def run_upgrade(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "db", "upgrade", *options],
        env=clean_environment(LABELSTREAM_DATABASE_URL=url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_migrates_and_says_so(database_url: str) -> None:
    missing = run_upgrade(database_url, "--check")
    assert missing.returncode == 2
    assert "no tables yet" in missing.stderr
    first, second = run_upgrade(database_url), run_upgrade(database_url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert ": migrated (revision" in first.stdout
    assert ": already up to date (revision" in second.stdout


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:s3cret@localhost/none", "mysql is not supported"),
        ("s3cret", "cannot be read"),
        ("sqlite://", "in memory"),
        ("sqlite:////dev/null/s3cret/store.db", "folder of the database cannot be made"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_and_status_2(url: str, says: str) -> None:
    done = run_upgrade(url)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    if "@" in url:
        assert "s3cret" not in done.stderr
