"""What every chunk pays for: its statements find it by its key, also in a table nobody has analysed."""

import re

import pytest
from sqlalchemy import ClauseElement

from db.ledger.claiming import _CLAIM, _LOOK
from db.ledger.closing import _CLOSE
from db.ledger.producing import _SENT
from db.store import Store
from tests.db.ledger_parts import begin, change

STATEMENTS: dict[str, ClauseElement] = {
    "look": _LOOK,
    "claim": _CLAIM,
    "close": _CLOSE,
    "record that it was sent": _SENT,
}


# PostgreSQL knows nothing of a new table, and of two indexes that seem to be as good it takes any:
# one that begins with the job, or with the state, leads through all chunks of a job.
@pytest.mark.parametrize("chunks", [0, 4000])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_chunk_is_found_by_its_key(postgres_store: Store, name: str, chunks: int) -> None:
    job = begin(postgres_store).job
    if chunks:
        change(
            postgres_store,
            "INSERT INTO chunks (job_id, number, row_count, rejected_parsed, state, queue, queued_at, "
            "claims, suspect, claimed_alone, strikes, labeled, rejected_worker) SELECT "
            f"{job}, n, 256, 0, 'queued', 'q', now(), 0, false, false, 0, 0, 0 "
            f"FROM generate_series(1, {chunks}) AS n",
        )
        change(postgres_store, "ANALYZE chunks")
    words = STATEMENTS[name].compile(postgres_store.engine)
    given = {"of_job": job, "of_number": 7, "of_token": "a token", "alone": False}
    parameters = {key: given.get(key, value) for key, value in words.params.items()}
    with postgres_store.read() as connection:
        lines = connection.exec_driver_sql(f"EXPLAIN {words}", parameters).scalars()
        plan = "\n".join(lines)
    found = re.findall(r"on chunks.*\n.*Index Cond: (.*)", plan)
    assert len(found) == plan.count(" on chunks") - plan.startswith("Update on chunks"), plan
    assert all("job_id" in key and "number" in key for key in found), plan
