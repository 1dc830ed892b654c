"""`benchmarks.queries`: the table that it makes adds up, and the README's queries run on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.queries import filled, measure, read_queries
from db.schema import LabeledText
from db.store import Store

ROOT = Path(__file__).parents[2]

#: Of 2,000 labelled texts, those of each job, then the rejects among its rows, every 101st, then its
#: chunks of 256 rows: 807 rows, 403, and eight times 100.
JOBS = [(1, 800, 7, 4), (2, 400, 3, 2), *((job, 100, 0, 1) for job in range(3, 11))]


@pytest.fixture(scope="module")
def made(postgres_server: str) -> Iterator[tuple[Store, int]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LABELSTREAM_TEST_DATABASE_URL", postgres_server)
        first = ["CREATE INDEX on_trial ON labeled_texts (label)", "VACUUM labeled_texts"]
        with filled(2000, first) as (store, job):
            yield store, job


def ask(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_each_row_of_the_made_jobs_is_in_one_place(made: tuple[Store, int]) -> None:
    store, job = made
    assert job == 1, "the largest"
    counted = ask(
        store,
        "SELECT j.id, (SELECT count(*) FROM labeled_texts t WHERE t.job_id = j.id),"
        " (SELECT count(*) FROM rejects r WHERE r.job_id = j.id),"
        " (SELECT count(*) FROM chunks c WHERE c.job_id = j.id) FROM jobs j ORDER BY j.id",
    )
    assert counted == JOBS
    said = "SELECT job_id, sum(labeled), sum(rejected_parsed), count(*), sum(row_count)"
    assert ask(store, f"{said} FROM chunks GROUP BY job_id ORDER BY job_id") == [
        (*job, job[1] + job[2]) for job in JOBS
    ]
    both = "SELECT row_number FROM {} WHERE job_id = 1"
    numbers = ask(
        store, f"{both.format('labeled_texts')} UNION ALL {both.format('rejects')} ORDER BY 1"
    )
    assert numbers == [(number,) for number in range(1, 808)]


def test_the_made_texts_are_of_two_versions_and_thirty_days(made: tuple[Store, int]) -> None:
    store, _ = made
    versions = "SELECT model_version, count(*) FROM labeled_texts GROUP BY 1 ORDER BY 1"
    assert ask(store, versions) == [(1, 1400), (2, 600)]
    # The last time is the very end of the thirtieth day.
    assert ask(store, "SELECT count(DISTINCT date(labeled_at)) FROM labeled_texts") == [(31,)]
    # Each with an id, but those of the last two jobs are the first one's.
    assert ask(store, "SELECT count(DISTINCT external_id) FROM labeled_texts") == [(1800,)]
    assert ask(store, "SELECT DISTINCT id_scope FROM labeled_texts WHERE job_id = 9") == [
        ("tweets-1.csv",)
    ]
    assert ask(store, "SELECT count(DISTINCT text) FROM labeled_texts") == [(2000,)]


def test_no_index_of_the_schema_is_missing_where_it_was_filled(made: tuple[Store, int]) -> None:
    store, _ = made
    indexes = {str(index.name) for index in LabeledText.__table__.indexes}  # type: ignore[attr-defined]
    there = ask(store, "SELECT indexname FROM pg_indexes WHERE tablename = 'labeled_texts'")
    assert {name for (name,) in there} == indexes | {"pk_labeled_texts", "on_trial"}


def test_a_plan_that_reads_all_of_the_texts_is_told_from_one_that_does_not(
    made: tuple[Store, int],
) -> None:
    store, _ = made
    whole = measure(store, "all", "SELECT max(text) FROM labeled_texts", 1)
    assert (whole.returned, whole.sequential) == (1, True)
    one = "SELECT text FROM labeled_texts WHERE job_id = 1 AND row_number = 5"
    found = measure(store, "one", one, 1)
    assert (found.returned, found.sequential) == (1, False)
    assert "Index Scan using pk_labeled_texts" in found.plan


def test_the_command_runs_each_query_of_the_readme(tmp_path: Path, postgres_server: str) -> None:
    file = tmp_path / "queries.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.queries", "--rows", "2000", "--rounds", "2",
         "--json", file],
        cwd=ROOT,
        env={**os.environ, "LABELSTREAM_TEST_DATABASE_URL": postgres_server},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads(file.read_text())
    assert [table[name] for name in ("labeled_texts", "rejects", "chunks", "job", "job_texts")] == [
        2000, 10, 14, 1, 800
    ]  # fmt: skip
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line["query"] for line in table["lines"]] == list(read_queries(1))
    for query in read_queries(1).values():
        assert query.replace("job_id = 1", "job_id = :job") in readme
    # Six labels, the 20 rows that are asked for, three reasons, ten jobs, five regions.
    returned = {line["query"]: line["returned"] for line in table["lines"]}
    assert returned.pop("labels_per_day") > 100
    assert returned == {
        "label_mix": 6,
        "least_confident": 20,
        "rejects_by_reason": 3,
        "rows_per_second": 10,
        "share_by_external_id": 5,
    }
    for line in table["lines"]:
        assert f"\n{line['query']}\n{line['plan']}" in done.stdout
