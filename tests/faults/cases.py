"""One line of the fault table: a fault, a database, an engine; run in a process of its own."""

import logging
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.faults.deployment import Deployment
from tests.faults.form import LONG, Form
from tests.faults.sources import model_judge, tweet_rows
from tests.faults.table import BY_NAME, FAULTS, Outcome, run_fault

#: Which faults are tried with the starter as well, and on which database.
WITH_MODEL = {
    "worker-killed": "sqlite",
    "worker-terminated": "sqlite",
    "redis-emptied": "postgresql",
}

#: Share of a form's rows that two workers with the starter label in about a minute on 2 cores.
MODEL_SHARE = 0.75


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    fault: str
    database: str
    engine: str = "text-hash"

    @property
    def name(self) -> str:
        return self.fault if self.engine == "text-hash" else f"{self.fault} (model)"


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    case: Case
    outcome: Outcome | None
    #: Why it failed; empty if it did not.
    failure: str


def cases(names: Sequence[str], databases: Sequence[str]) -> list[Case]:
    """Return the lines of the table for the faults that are named, or for all."""
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    found = [
        Case(fault.name, database)
        for fault in chosen
        for database in fault.databases
        if database in databases
    ]
    return found + [
        Case(fault.name, WITH_MODEL[fault.name], "torch")
        for fault in chosen
        if WITH_MODEL.get(fault.name) in databases
    ]


def run(case: Case, form: Form) -> Result:
    """Run one case from the start of its servers to their end."""
    # It tells the terms of the starter each time.
    logging.getLogger("worker.starter").setLevel(logging.ERROR)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell Ctrl-C is ignored, and producers would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = _with_model(case, form) if case.engine == "torch" else _paced(case, form)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is this line of the table)
        traceback.print_exc()
        return Result(case, None, str(error).partition("\n")[0] or type(error).__name__)
    return Result(case, outcome, "; ".join(outcome.differences) or too_late(case, outcome, form))


def _paced(case: Case, form: Form) -> Outcome:
    fault = BY_NAME[case.fault]()
    deployment = Deployment(case.database, form, proxied=fault.proxied)
    try:
        return run_fault(fault, deployment)
    finally:
        deployment.close()


def _with_model(case: Case, form: Form) -> Outcome:
    from worker.classifier import Classifier

    fault = BY_NAME[case.fault]()
    rows = tweet_rows(fault.name, round(form.rows * MODEL_SHARE))
    deployment = Deployment(case.database, replace(form, pace=0.0), engine="torch")
    try:
        with Classifier.load("emotion:1", settings=deployment.cluster.python_settings()) as again:
            judge = model_judge(again, rows)
        return run_fault(fault, deployment, rows, judge)
    finally:
        deployment.close()


def too_late(case: Case, outcome: Outcome, form: Form) -> str:
    """Return how far a fault is from the time that is promised, in its long form; else nothing."""
    allowed = BY_NAME[case.fault].beyond_work
    beyond = outcome.seconds - outcome.work_seconds
    if allowed is None or case.engine == "torch" or form != LONG or beyond <= allowed:
        return ""
    return f"done {beyond:.1f} s after what the work took, not {allowed:.0f} s"
