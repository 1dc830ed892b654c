"""A database that fails when a fit is done costs neither the fit nor its registration."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from db.errors import ServiceUnavailable
from db.registry.local_artifacts import LocalArtifacts
from db.registry.versions import list_versions
from db.settings import Settings
from db.store import Store
from tests.db.breaking import Breaking
from tests.training.test_fit import TINY, one_thread, write_data
from training.artifact import Provenance
from training.data import read_data
from training.fit_state import FitStateFile
from training.making import Made, make_version
from training.registering import register
from training.registry import Registry
from worker.starter import ADAPTER

__all__ = ["one_thread"]


@contextmanager
def read_only(store: Store) -> Iterator[None]:
    """Let every connection of `store` refuse to write, as one to a read-only file does."""

    def refuse(connection: object, _: object) -> None:
        connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]

    event.listen(store.engine, "connect", refuse)
    store.engine.dispose()
    yield
    event.remove(store.engine, "connect", refuse)
    store.engine.dispose()


def test_a_fit_whose_version_cannot_be_registered_is_kept(
    sqlite_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    artifacts = LocalArtifacts(tmp_path / "registry")
    settings = Settings(_env_file=None, database_url=sqlite_store.url, home_dir=tmp_path)
    sqlite_store.patience = 0.5

    def make(*, resume: bool = False) -> Made:
        return make_version(
            data,
            TINY,
            Provenance("mood", "tiny", "unknown", "en"),
            registry=Registry(settings, sqlite_store, artifacts),
            state=FitStateFile(tmp_path / "fits", data.fingerprint, TINY),
            resume=resume,
        )

    with read_only(sqlite_store), pytest.raises(ServiceUnavailable) as failed:
        make()
    assert "SQLITE_READONLY" in str(failed.value)
    assert "the same command with --resume goes on with it" in str(failed.value)
    assert "trying again for" in capsys.readouterr().err
    assert list_versions(sqlite_store, "mood") == []

    made = make(resume=True)
    assert str(made.version) == "mood:1"
    assert [str(version) for version in list_versions(sqlite_store, "mood")] == ["mood:1"]


@pytest.mark.parametrize("when", ["before", "after_commit_of"])
def test_a_connection_that_breaks_registers_a_version_once(
    postgres_store: Store, tmp_path: Path, when: str
) -> None:
    breaking = Breaking(postgres_store)
    getattr(breaking, when)("INSERT INTO model_versions")
    version = register(postgres_store, LocalArtifacts(tmp_path / "registry"), ADAPTER, "mood")
    assert breaking.broken == 1
    assert str(version) == "mood:1"
    assert [str(known) for known in list_versions(postgres_store, "mood")] == ["mood:1"]
