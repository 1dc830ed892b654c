"""Cancel and purge: what they refuse, and that a late worker finds nothing."""

from functools import partial

import pytest
from sqlalchemy import insert

from db.errors import UsageError
from db.ledger.jobs import get_job
from db.ledger.stopping import cancel, purge
from db.ledger.totals import job_totals
from db.schema import Correction
from db.store import Store
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, held, result_of, value


def test_a_job_is_cancelled_once(store: Store) -> None:
    writer = begin(store)
    assert cancel(store, writer.job) is True
    assert cancel(store, writer.job) is False
    assert get_job(store, writer.job).finished_at is not None


def test_a_running_job_or_one_that_is_read_or_none_cannot_be_purged(store: Store) -> None:
    writer = begin(store)
    with pytest.raises(UsageError, match="job 1 is running; first: producer cancel 1"):
        purge(store, writer.job)
    cancel(store, writer.job)
    relabel = begin(store, identity="relabel", parent_job=writer.job)
    with pytest.raises(UsageError, match="job 2 relabels the texts of job 1"):
        purge(store, writer.job)
    cancel(store, relabel.job)
    purge(store, writer.job)
    with pytest.raises(UsageError, match="there is no job 7"):
        purge(store, 7)


def test_a_purged_job_has_no_rows_and_a_late_worker_finds_nothing(store: Store) -> None:
    writer = begin(store)
    done = held(store, writer.job, add(writer, 1, 3, rejected=1))
    late, queued = held(store, writer.job, add(writer, 5, 3)), add(writer, 8, 3)
    assert queued == 3
    assert close_chunk(store, done, result_of(done))
    with store.write() as connection:
        connection.execute(
            insert(Correction).values(job_id=1, row_number=1, label="joy", annotator="me")
        )
    cancel(store, writer.job)
    purge(store, writer.job)
    assert close_chunk(store, late, result_of(late)) is False
    for table in ("labeled_texts", "rejects", "corrections"):
        assert value(store, f"SELECT count(*) FROM {table}") == 0
    assert value(store, "SELECT count(*) FROM chunks WHERE payload IS NOT NULL") == 0
    assert value(store, "SELECT count(*) FROM chunks WHERE lease_token IS NOT NULL") == 0
    assert get_job(store, writer.job).state == "purged"
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.open_chunks) == (10, 3, 1, 0)


def test_purging_and_closing_at_once_leave_no_row(store: Store) -> None:
    for turn in range(10):
        writer = begin(store, identity=f"rows {turn}")
        taken = held(store, writer.job, add(writer, 1, 20))
        cancel(store, writer.job)
        outcomes = at_once(
            [
                partial(purge, store, writer.job),
                partial(close_chunk, store, taken, result_of(taken)),
            ]
        )
        assert outcomes[0] is None
        assert outcomes[1] in (True, False)
        assert value(store, "SELECT count(*) FROM labeled_texts") == 0
