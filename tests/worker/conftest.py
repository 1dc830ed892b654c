"""The starter model, registered and merged once for all tests that compute with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import Store, open_store
from worker.classifier import Classifier
from worker.merge import merge_version
from worker.preparing import prepare


@pytest.fixture(scope="session")
def starter_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home folder whose starter is merged; its files are never to be changed."""
    home = tmp_path_factory.mktemp("starter") / "home"
    settings = Settings(_env_file=None, home_dir=home, device="cpu")
    store = open_store(settings)
    prepare(store, settings)
    # Here rather than in a child: what it imports is used by other tests again.
    merge_version(store, artifact_store(settings), resolve(store, parse_ref("emotion:1")))
    store.close()
    return settings


@pytest.fixture
def starter_store(starter_settings: Settings) -> Iterator[Store]:
    """Open the store of that home folder."""
    store = open_store(starter_settings)
    yield store
    store.close()


@pytest.fixture
def starter(starter_store: Store) -> Version:
    """Return the starter's version."""
    return resolve(starter_store, parse_ref("emotion:1"))


@pytest.fixture
def merged(starter_settings: Settings, starter: Version) -> Path:
    """Return the folder of the merged starter."""
    assert starter.merged is not None
    return Path(starter_settings.registry) / starter.merged


@pytest.fixture(scope="session")
def classifier(starter_settings: Settings) -> Iterator[Classifier]:
    """Return the starter's classifier on the CPU."""
    with Classifier.load(settings=starter_settings) as loaded:
        yield loaded
