"""Deployments for tests of the whole way; the starter is registered and merged once a session."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from db.migrate import upgrade
from db.registry.local_artifacts import LocalArtifacts
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve, set_merged
from db.settings import Settings
from db.store import Store
from tests.cluster import Cluster
from tests.conftest import DATABASES
from tests.databases import fresh_database
from worker.serving import ensure_merged
from worker.starter import ensure_starter

#: The data set dair-ai/emotion, beside the project; tests that need it skip where it is missing.
EMOTION = Path(__file__).parents[2].parent / "shared/data/emotion"

STARTER = "emotion:1"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models' artifacts, shared by all deployments of the session."""
    return tmp_path_factory.mktemp("registry")


def _starter_in(store: Store, registry: Path) -> Version:
    upgrade(store)
    ensure_starter(store, LocalArtifacts(registry))
    return resolve(store, parse_ref(STARTER))


@pytest.fixture(scope="session")
def starter_sqlite(tmp_path_factory: pytest.TempPathFactory, registry: Path) -> str:
    """URL of a database whose starter is merged, to be copied and never written."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('starter') / 'store.db'}")
    settings = Settings(_env_file=None, database_url=store.url, registry_dir=registry)
    ensure_merged(store, settings, _starter_in(store, registry))
    store.close()
    return store.url


@pytest.fixture(scope="session")
def starter_postgres(postgres_server: str, starter_sqlite: str, registry: Path) -> Iterator[str]:
    """URL of the same database on PostgreSQL: it names the model that was merged already."""
    done = Store(starter_sqlite)
    merged = resolve(done, parse_ref(STARTER))
    done.close()
    assert merged.merged is not None
    assert merged.merged_sha256 is not None
    with fresh_database(postgres_server) as url:
        store = Store(url)
        version = _starter_in(store, registry)
        assert set_merged(store, version, merged.merged, merged.merged_sha256)
        store.close()
        yield url


def copied(starter: str, folder: Path) -> str:
    path = folder / "store.db"
    shutil.copyfile(str(make_url(starter).database), path)
    return f"sqlite:///{path}"


@pytest.fixture(params=DATABASES)
def starter_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of the test's own that has the starter, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield copied(request.getfixturevalue("starter_sqlite"), tmp_path)
        return
    template = request.getfixturevalue("starter_postgres")
    with fresh_database(request.getfixturevalue("postgres_server"), template) as url:
        yield url


@pytest.fixture
def cluster(tmp_path: Path, redis_url: str, starter_url: str, registry: Path) -> Iterator[Cluster]:
    """Make a deployment without a worker, on SQLite and on PostgreSQL."""
    cluster = Cluster(tmp_path, redis_url, starter_url, registry)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def module_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: str,
    starter_sqlite: str,
    registry: Path,
) -> Iterator[Cluster]:
    """Make a deployment on SQLite without a worker, which the tests of a module share."""
    folder = tmp_path_factory.mktemp("module")
    # Its own Redis database: other tests empty the first one.
    broker = make_url(redis_server).set(database="1").render_as_string(hide_password=False)
    cluster = Cluster(folder, broker, copied(starter_sqlite, folder), registry)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def hashing(module_cluster: Cluster) -> Cluster:
    """Start a worker there whose label is a function of the text alone."""
    module_cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    return module_cluster
