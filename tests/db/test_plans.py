"""What every chunk pays for: its statements find it by its key, also in a table nobody has analysed."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ClauseElement, select

from db.ledger.claiming import _CLAIM, _LOOK
from db.ledger.closing import _CLOSE
from db.ledger.producing import _SENT
from db.ledger.rates import _finished_since
from db.schema import Job
from db.store import Store
from tests.db.ledger_parts import begin, change

STATEMENTS: dict[str, ClauseElement] = {
    "look": _LOOK,
    "claim": _CLAIM,
    "close": _CLOSE,
    "record that it was sent": _SENT,
}


def add_chunks(store: Store, job: int, chunks: int, state: str = "queued") -> None:
    """Add chunks by SQL alone; those that are done were closed one a second, the last one now."""
    done_at = f"now() - interval '1 second' * ({chunks} - n)" if state == "done" else "NULL"
    change(
        store,
        "INSERT INTO chunks (job_id, number, row_count, rejected_parsed, state, queue, queued_at, "
        "claims, suspect, claimed_alone, strikes, labeled, rejected_worker, done_at) SELECT "
        f"{job}, n, 256, 0, '{state}', 'q', now(), 0, false, false, 0, 0, 0, {done_at} "
        f"FROM generate_series(1, {chunks}) AS n",
    )
    change(store, "ANALYZE chunks")


def planned(store: Store, words: str, parameters: dict[str, Any]) -> str:
    """Return the plan of a statement as PostgreSQL tells it."""
    with store.read() as connection:
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {words}", parameters).scalars())


# PostgreSQL knows nothing of a new table, and of two indexes that seem to be as good it takes any:
# one that begins with the job, or with the state, leads through all chunks of a job.
@pytest.mark.parametrize("chunks", [0, 4000])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_chunk_is_found_by_its_key(postgres_store: Store, name: str, chunks: int) -> None:
    job = begin(postgres_store).job
    if chunks:
        add_chunks(postgres_store, job, chunks)
    words = STATEMENTS[name].compile(postgres_store.engine)
    given = {"of_job": job, "of_number": 7, "of_token": "a token", "alone": False}
    parameters = {key: given.get(key, value) for key, value in words.params.items()}
    plan = planned(postgres_store, str(words), parameters)
    found = re.findall(r"on chunks.*\n.*Index Cond: (.*)", plan)
    assert len(found) == plan.count(" on chunks") - plan.startswith("Update on chunks"), plan
    assert all("job_id" in key and "number" in key for key in found), plan


def test_what_a_job_did_in_the_last_minute_is_found_by_its_time(postgres_store: Store) -> None:
    job = begin(postgres_store).job
    add_chunks(postgres_store, job, 20_000, "done")
    since = datetime.now(UTC) - timedelta(seconds=60)
    query = _finished_since(select(Job.id).where(Job.id == job), since)
    words = query.compile(postgres_store.engine, compile_kwargs={"render_postcompile": True})
    plan = planned(postgres_store, str(words), dict(words.params))
    assert "on chunks" in plan
    assert re.search(r"Index Cond: .*done_at >", plan), plan
