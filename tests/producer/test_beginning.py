"""Beginning a job that follows a file: gone on with, and with `--again` begun anew from the start."""

import pytest

from db.errors import UsageError
from db.ledger.jobs import create_job, get_job
from db.ledger.producing import JobWriter
from db.store import Store
from producer.beginning import begin_job, go_on
from tests.db.ledger_parts import chunk_rows
from tests.producer.made_jobs import new_job

FOLLOWED = new_job(name="app.log", stream="follow")


def begun(store: Store) -> tuple[int, JobWriter]:
    """A followed file's job with one open chunk, and whoever writes it."""
    writer = JobWriter(store, create_job(store, FOLLOWED, "host:1"), "labelstream")
    writer.add_chunk(chunk_rows(1, 2), [], {"row": 2})
    return writer.job, writer


def test_one_whose_producer_has_left_goes_on(store: Store) -> None:
    job, writer = begun(store)
    writer.release()
    beginning = begin_job(store, FOLLOWED, again=False, say=print)
    assert (beginning.job.id, beginning.continued) == (job, True)
    assert beginning.job.position == {"row": 2}


def test_begun_anew_the_old_one_ends_with_the_rows_that_it_has(store: Store) -> None:
    job, writer = begun(store)
    writer.release()
    said: list[str] = []
    beginning = begin_job(store, FOLLOWED, again=True, say=said.append)
    assert beginning.job.id != job
    assert not beginning.continued
    assert said == [f"job {job} ends with the rows that it has; a new job reads from the start"]
    old = get_job(store, job)
    assert (old.state, old.source_exhausted) == ("running", True)
    # The next call of the same command is about the new job, and the old one ends by itself.
    assert beginning.production is not None
    JobWriter(store, beginning.production, "labelstream").release()
    assert begin_job(store, FOLLOWED, again=False, say=print).job.id == beginning.job.id


@pytest.mark.parametrize("again", [False, True])
def test_while_its_producer_lives_it_is_refused_by_name(store: Store, again: bool) -> None:
    job, writer = begun(store)

    def renew(_: str) -> None:
        writer.renew()

    with pytest.raises(UsageError, match=f"job {job} is "):
        begin_job(store, FOLLOWED, again=again, say=renew)


def test_a_job_that_was_read_to_its_end_is_taken_over_for_its_labels(store: Store) -> None:
    job, writer = begun(store)
    writer.exhaust()
    writer.release()
    beginning = go_on(store, get_job(store, job), say=print)
    assert beginning.production is not None
    assert (beginning.job.id, beginning.continued) == (job, True)
