"""Pages; the starter's deployments are those of the whole way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.dashboard.pages import Served, served
from tests.pipeline.conftest import copied, registry, starter_postgres, starter_sqlite, starter_url

__all__ = ["registry", "starter_postgres", "starter_sqlite", "starter_url"]


@pytest.fixture
def cluster(
    tmp_path: Path, redis_url: str, starter_sqlite: str, registry: Path
) -> Iterator[Cluster]:
    """A deployment on SQLite that has the starter."""
    deployment = Cluster(tmp_path, redis_url, copied(starter_sqlite, tmp_path), registry)
    yield deployment
    deployment.stop()


@pytest.fixture
def page(cluster: Cluster) -> Iterator[Served]:
    """The deployment's page, with changes."""
    with served(cluster.settings) as running:
        yield running
