"""Browsers and pages; the starter's deployments are those of the whole way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.cluster import Cluster
from tests.dashboard.pages import Served, browser_path, served
from tests.pipeline.conftest import copied, registry, starter_postgres, starter_sqlite, starter_url

__all__ = ["registry", "starter_postgres", "starter_sqlite", "starter_url"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium: install chromium, or set LABELSTREAM_TEST_CHROMIUM to its path")
    with sync_playwright() as playwright:
        # As root it has no sandbox.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


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
