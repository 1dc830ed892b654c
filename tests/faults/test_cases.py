"""The lines of the fault table: which there are, and when one is too late."""

import pickle

from tests.faults.cases import Case, cases, too_late
from tests.faults.form import LONG, SHORT
from tests.faults.table import Outcome

BOTH = ("sqlite", "postgresql")


def test_each_fault_is_tried_on_both_databases_where_it_can_strike() -> None:
    found = [(case.fault, case.database) for case in cases((), BOTH) if case.engine != "torch"]
    only_postgres = {"postgres-restarted", "postgres-killed", "database-cut"}
    assert len(found) == len(set(found)) == 2 * 19 - len(only_postgres)
    assert {fault for fault, database in found if database == "sqlite"}.isdisjoint(only_postgres)


def test_three_faults_are_tried_with_a_real_model_as_well() -> None:
    assert [case.name for case in cases((), BOTH) if case.engine == "torch"] == [
        "worker-killed (model)",
        "worker-terminated (model)",
        "redis-emptied (model)",
    ]


def test_one_fault_can_be_chosen() -> None:
    assert cases(["database-cut"], BOTH) == [Case("database-cut", "postgresql")]


def test_a_killed_workers_rows_must_be_done_thirty_seconds_after_what_the_work_takes() -> None:
    case = Case("worker-killed", "sqlite")
    # As the process of a case gets it.
    form = pickle.loads(pickle.dumps(LONG))  # noqa: S301
    in_time = Outcome(20_000, "", seconds=129.9, work_seconds=100.0, differences=[])
    late = Outcome(20_000, "", seconds=130.5, work_seconds=100.0, differences=[])
    assert too_late(case, in_time, form) == ""
    assert too_late(case, late, form) == "done 30.5 s after what the work took, not 30 s"
    assert too_late(case, late, SHORT) == ""
    assert too_late(Case("worker-stopped", "sqlite"), late, form) == ""
