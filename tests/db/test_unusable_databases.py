"""A database that cannot be used is told in one line, soon, and without its password."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from db.errors import ServiceUnavailable
from db.migrate import upgrade
from db.store import Store
from tests.cluster import clean_environment
from tests.db.ledger_parts import change, value

#: A port of this machine where nothing listens.
NOBODY = "postgresql://me:s3cret@127.0.0.1:9/none"

#: The user that owns nothing.
NOBODY_ID = 65534


def run_upgrade(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "db", "upgrade"],
        env=clean_environment(**settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_database_out_of_reach_is_one_line_within_30_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run_upgrade(tmp_path, LABELSTREAM_DATABASE_URL=NOBODY)
    assert time.monotonic() - began < 30
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "127.0.0.1:9/none cannot be used" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_file_that_is_no_database_is_one_line_at_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes.db"
    notes.write_text("this is no database but a note\n" * 100)
    for path, says in ((notes, "file is not a database"), (tmp_path, "unable to open database")):
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=says) as caught:
            Store(f"sqlite:///{path}").check()
        assert time.monotonic() - began < 5
        assert "\n" not in str(caught.value)
    assert notes.read_text().startswith("this is no database")


def test_without_a_setting_the_command_makes_sqlite_in_the_home_folder(tmp_path: Path) -> None:
    done = run_upgrade(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    home = tmp_path / ".labelstream"
    assert (home / "labelstream.db").is_file()
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_user_that_may_make_no_tables_is_told_so(postgres_url: str) -> None:
    owner = Store(postgres_url)
    change(
        owner,
        "DO $$ BEGIN CREATE ROLE labelstream_reader LOGIN PASSWORD 'reads';"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    change(owner, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = make_url(postgres_url).set(username="labelstream_reader", password="reads")
    reader = Store(url.render_as_string(hide_password=False))
    with pytest.raises(ServiceUnavailable, match="its user may create tables"):
        upgrade(reader)
    reader.close()
    assert value(owner, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    owner.close()


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Be a user for whom the permissions of files count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY_ID)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user can reach; pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory(prefix="labelstream-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_one_line_at_once(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    store = Store(f"sqlite:///{open_folder / 'store.db'}")
    began = time.monotonic()
    with ordinary_user(), pytest.raises(ServiceUnavailable, match="unable to open database file"):
        store.check()
    assert time.monotonic() - began < 5
    store.close()


def test_a_file_that_only_may_be_read_is_not_migrated(open_folder: Path) -> None:
    file = open_folder / "store.db"
    empty = Store(f"sqlite:///{file}")
    empty.check()
    empty.close()
    file.chmod(0o444)
    open_folder.chmod(0o777)
    store = Store(f"sqlite:///{file}")
    with ordinary_user():
        store.check()
        with pytest.raises(ServiceUnavailable, match=r"could not be migrated .*READONLY"):
            upgrade(store)
    store.close()
