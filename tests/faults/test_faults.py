"""Each fault of the table in its shorter form: nothing is lost, doubled or labelled wrongly.

`make faults` runs the long form, each on both databases.
"""

from collections.abc import Iterator

import pytest

from tests.faults.deployment import Deployment
from tests.faults.fault import Fault
from tests.faults.form import SHORT
from tests.faults.table import FAULTS, run_fault

#: On which database each runs here; those that are not named need PostgreSQL or its proxies.
ON_SQLITE = {
    "worker-killed",
    "worker-stopped",
    "producer-killed-before-sending",
    "producer-killed-before-acknowledging",
    "producer-interrupted",
    "redis-killed",
    "redis-emptied",
    "promotion",
}


class Deployments:
    """One deployment a database, for faults one after the other; a broken one is replaced."""

    def __init__(self) -> None:
        self._running: dict[str, Deployment] = {}

    def get(self, database: str) -> Deployment:
        if database not in self._running:
            # SQLite has no connection to cut, so there all ways are direct.
            self._running[database] = Deployment(database, SHORT, proxied=database != "sqlite")
        self._running[database].heal()
        return self._running[database]

    def discard(self, database: str) -> None:
        self._running.pop(database).close()

    def close(self) -> None:
        for database in list(self._running):
            self.discard(database)


@pytest.fixture(scope="module")
def deployments() -> Iterator[Deployments]:
    running = Deployments()
    yield running
    running.close()


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name)
def test_a_fault_loses_no_row_and_doubles_none(kind: type[Fault], deployments: Deployments) -> None:
    database = "sqlite" if kind.name in ON_SQLITE else "postgresql"
    deployment = deployments.get(database)
    try:
        outcome = run_fault(kind(), deployment)
    except BaseException:
        deployments.discard(database)
        raise
    assert outcome.differences == []
    print(f"{kind.name} on {database}: {outcome.bit}; {outcome.seconds:.1f} s from fault to end")
