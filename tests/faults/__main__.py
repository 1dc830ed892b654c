"""The fault table in its long form: `make faults`, or one of them with `make faults FAULT=name`.

Each fault strikes a job of 20,000 rows with two workers, on SQLite and on PostgreSQL, three of them
also with the starter model. Two run at once (`--at-once`), each with servers and workers of its
own; those with the model run alone. Exit status 1 if one did not bite, or a row is missing, there
twice or wrongly labelled.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.faults.cases import Case, Result, cases, run
from tests.faults.form import LONG, SHORT, Form
from tests.faults.table import BY_NAME


def run_all(todo: Sequence[Case], form: Form, at_once: int) -> list[Result]:
    """Run all cases, telling of each as it ends; those with the model alone and last."""
    results = []
    parts = [
        ([case for case in todo if case.engine != "torch"], at_once),
        ([case for case in todo if case.engine == "torch"], 1),
    ]
    for part, together in parts:
        # Each in a process of its own: Ctrl-C reaches it, and it ends what it started.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(together, context, max_tasks_per_child=1) as pool:
            for result in pool.map(run, part, [form] * len(part)):
                print(line(result), flush=True)
                results.append(result)
    return results


HEAD = ("fault", "database", "rows", "seconds", "beyond the work", "result", "what bit")


def line(result: Result) -> str:
    """Return the line of the table for a result."""
    outcome = result.outcome
    paced = outcome is not None and outcome.work_seconds > 0
    cells = [
        result.case.name,
        result.case.database,
        f"{outcome.rows:,}" if outcome else "-",
        f"{outcome.seconds:.1f}" if outcome else "-",
        f"{outcome.seconds - outcome.work_seconds:.1f}" if outcome and paced else "-",
        "FAILED: " + result.failure if result.failure else "all rows right",
        outcome.bit if outcome else "-",
    ]
    return _laid_out(cells)


def _laid_out(cells: Sequence[str]) -> str:
    name, database, rows, seconds, beyond, result, bit = cells
    return f"{name:37} {database:10} {rows:>7} {seconds:>8} {beyond:>15}  {result:15} {bit}"


def main() -> int:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[*BY_NAME, []], metavar="FAULT")
    parser.add_argument("--database", choices=["sqlite", "postgresql"])
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="the form of `make test`")
    asked = parser.parse_args()
    databases = [asked.database] if asked.database else ["sqlite", "postgresql"]
    todo = cases(asked.faults, databases)
    results = run_all(todo, SHORT if asked.short else LONG, asked.at_once)
    print(f"\n{_laid_out(HEAD)}")
    print("\n".join(line(result) for result in results))
    failed = sum(bool(result.failure) for result in results)
    print(f"\n{len(results)} faults, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
