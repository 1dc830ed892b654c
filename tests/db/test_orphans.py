"""A stream whose producer is gone ends; one whose producer lives, or may be followed, does not."""

import subprocess
import sys
from typing import Any

import pytest

from db.defaults import PIPE_PATIENCE_SECONDS
from db.ledger.jobs import create_job, get_job
from db.ledger.orphans import end_orphans
from db.ledger.producing import JobLost, JobWriter
from db.ledger.sweeping import Sweeper
from db.store import Store
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, change, held, past, result_of
from tests.db.test_sweeping import ListOutbox
from tests.producer.made_jobs import new_job


def begin(store: Store, stream: str | None, **values: Any) -> JobWriter:
    standard = {"stream": stream, "continues": stream in (None, "follow")}
    job = new_job(**{**standard, "identity": str(stream), **values})
    return JobWriter(store, create_job(store, job, "host:1"), "labelstream")


def lease_ran_out(store: Store, writer: JobWriter, seconds: float = 1) -> None:
    change(
        store,
        f"UPDATE jobs SET producer_lease_until = {past(store, seconds)} WHERE id = :job",
        job=writer.job,
    )


def sweep(store: Store) -> None:
    assert Sweeper(store, ListOutbox(), "test").sweep() is not None


@pytest.mark.parametrize("stream", ["redis", "task"])
def test_a_stream_whose_producer_is_gone_is_done_when_its_rows_are(
    store: Store, stream: str
) -> None:
    writer = begin(store, stream)
    add(writer, 1, 3)
    lease_ran_out(store, writer)
    sweep(store)
    job = get_job(store, writer.job)
    assert (job.state, job.source_exhausted, job.source_error) == ("running", True, None)
    taken = held(store, writer.job, 1)
    assert close_chunk(store, taken, result_of(taken))
    assert get_job(store, writer.job).state == "done"


def test_a_stream_with_nothing_open_ends_in_the_same_sweep(store: Store) -> None:
    writer = begin(store, "redis")
    lease_ran_out(store, writer)
    sweep(store)
    assert get_job(store, writer.job).state == "done"


@pytest.mark.parametrize("step", ["add", "renew", "exhaust"])
def test_its_producer_finds_itself_fenced_if_it_comes_back(store: Store, step: str) -> None:
    writer = begin(store, "redis")
    add(writer, 1, 3)
    lease_ran_out(store, writer)
    assert end_orphans(store) == [writer.job]
    with pytest.raises(JobLost, match="is no longer ours"):
        add(writer, 4, 3) if step == "add" else getattr(writer, step)()


def test_a_pipe_fails_and_says_that_the_rest_must_be_sent_again(store: Store) -> None:
    writer = begin(store, "stdin")
    add(writer, 1, 3)
    lease_ran_out(store, writer, PIPE_PATIENCE_SECONDS + 1)
    sweep(store)
    taken = held(store, writer.job, 1)
    assert close_chunk(store, taken, result_of(taken))
    job = get_job(store, writer.job)
    assert job.state == "failed"
    assert job.error is not None
    assert "its producer went away; what it had not entered must be sent again" in job.error


def test_a_pipe_is_waited_for_as_long_as_its_producer_tries_to_reach_the_database(
    store: Store,
) -> None:
    writer = begin(store, "stdin")
    lease_ran_out(store, writer, PIPE_PATIENCE_SECONDS - 30)
    assert end_orphans(store) == []
    add(writer, 1, 3)
    assert get_job(store, writer.job).state == "running"


@pytest.mark.parametrize("stream", ["stdin", "redis", "task"])
def test_a_stream_that_was_let_go_of_is_not_waited_for(store: Store, stream: str) -> None:
    writer = begin(store, stream)
    writer.release()
    sweep(store)
    assert get_job(store, writer.job).state == ("failed" if stream == "stdin" else "done")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is concluded of any process")
@pytest.mark.parametrize("stream", ["stdin", "redis", "task"])
def test_one_of_this_machine_whose_process_is_gone_is_not_waited_for(
    store: Store, stream: str
) -> None:
    """Nor does one that lives lose its job by that, whoever sweeps."""
    sleeping = [
        sys.executable,
        "-c",
        "from db.processes import own_name; print(own_name()); input()",
    ]
    with subprocess.Popen(
        sleeping, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        job = new_job(stream=stream, continues=False)
        production = create_job(store, job, name)
        sweep(store)
        assert get_job(store, production.job).state == "running"
        process.kill()
    sweep(store)
    assert get_job(store, production.job).state == ("failed" if stream == "stdin" else "done")


@pytest.mark.parametrize("stream", ["stdin", "redis", "task"])
def test_a_stream_whose_producer_lives_goes_on(store: Store, stream: str) -> None:
    writer = begin(store, stream)
    sweep(store)
    add(writer, 1, 3)
    assert get_job(store, writer.job).source_exhausted is False


@pytest.mark.parametrize("stream", [None, "follow"])
def test_a_source_that_another_producer_can_read_on_waits_for_one(
    store: Store, stream: str | None
) -> None:
    writer = begin(store, stream)
    lease_ran_out(store, writer, 2 * PIPE_PATIENCE_SECONDS)
    sweep(store)
    writer.renew()
    assert get_job(store, writer.job).state == "running"


def test_a_stream_that_was_exhausted_by_its_producer_keeps_its_own_reason(store: Store) -> None:
    writer = begin(store, "stdin")
    add(writer, 1, 3)
    writer.exhaust("the pipe broke")
    lease_ran_out(store, writer, 2 * PIPE_PATIENCE_SECONDS)
    assert end_orphans(store) == []
    assert get_job(store, writer.job).source_error == "the pipe broke"


def test_a_producer_in_the_middle_of_a_step_is_not_waited_for(postgres_store: Store) -> None:
    """It may be frozen there, and the sweeper must not freeze with it."""
    frozen = begin(postgres_store, "redis")
    other = begin(postgres_store, "redis", identity="another")
    lease_ran_out(postgres_store, frozen)
    lease_ran_out(postgres_store, other)
    with postgres_store.write() as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET position = '{{}}' WHERE id = {frozen.job}")
        assert end_orphans(postgres_store) == [other.job]
    assert end_orphans(postgres_store) == [frozen.job]
