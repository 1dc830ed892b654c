from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import Store
from tests.producer.command import Command, command_on


@pytest.fixture
def command(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Command]:
    """Run `producer` on the database of `store`."""
    with command_on(store.url, tmp_path, monkeypatch, capfdbinary) as run:
        yield run
