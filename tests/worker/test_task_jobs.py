"""Tasks of other clients become rows of jobs of this worker: each task once, each job held and ended."""

from collections.abc import Iterator
from functools import partial

import pytest

from db.defaults import TASK_JOBS
from db.ledger.entries import Entered, EntryRow
from db.ledger.jobs import get_job
from db.ledger.orphans import end_orphans
from db.ledger.stopping import cancel
from db.processes import own_name
from db.registry.names import parse_ref
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.ledger_parts import change, past, value
from worker.task_jobs import TaskJobKey, TaskJobs

KEY = TaskJobKey(parse_ref("emotion"), "task", True, "labelstream")
ROWS = [EntryRow("hello"), EntryRow("again")]


@pytest.fixture
def jobs(store: Store) -> Iterator[TaskJobs]:
    made = TaskJobs(store, "celery@here/7", own_name(), every=0.05)
    made.start()
    yield made
    made.stop()


def test_a_task_enters_once_whoever_is_given_it_again(store: Store, jobs: TaskJobs) -> None:
    other = TaskJobs(store, "celery@there/8", own_name())
    assert jobs.enter(KEY, "task-1", ROWS) == (1, Entered(1, 2))
    assert jobs.enter(KEY, "task-1", ROWS) == (1, Entered(None, 0))
    assert other.enter(KEY, "task-1", ROWS) == (2, Entered(None, 0))
    assert jobs.enter(KEY, "task-2", ROWS) == (1, Entered(2, 2))
    assert value(store, "SELECT sum(row_count) FROM chunks") == 4
    assert value(store, "SELECT count(*) FROM chunks WHERE sent_at IS NULL") == 0
    other.stop()


def test_a_job_says_what_it_is(store: Store, jobs: TaskJobs) -> None:
    jobs.enter(TaskJobKey(parse_ref("emotion:1"), "tickets", False, "urgent"), "task-1", ROWS)
    job = get_job(store, 1)
    assert job.source == "tasks of celery@here/7"
    assert (job.stream, job.continues, job.source_identity) == ("task", False, "task")
    assert (job.model_ref, job.id_scope, job.store_text, job.queue) == (
        "emotion:1", "tickets", False, "urgent",
    )  # fmt: skip
    assert job.producer == own_name()


def test_tasks_that_differ_in_what_a_job_has_in_common_get_jobs_of_their_own(
    store: Store, jobs: TaskJobs
) -> None:
    keys = [
        KEY,
        TaskJobKey(parse_ref("emotion:1"), "task", True, "labelstream"),
        TaskJobKey(parse_ref("emotion"), "tickets", True, "labelstream"),
        TaskJobKey(parse_ref("emotion"), "task", False, "labelstream"),
        TaskJobKey(parse_ref("emotion"), "task", True, "urgent"),
    ]
    for round_ in range(2):
        for number, key in enumerate(keys):
            jobs.enter(key, f"task-{round_}-{number}", ROWS)
    assert value(store, "SELECT count(*) FROM jobs") == 5
    assert value(store, "SELECT count(*) FROM chunks") == 10


def test_many_threads_share_one_job(store: Store, jobs: TaskJobs) -> None:
    outcomes = at_once([partial(jobs.enter, KEY, f"task-{n}", ROWS) for n in range(8)])
    assert {job for job, _ in outcomes} == {1}
    assert sorted(entered.number for _, entered in outcomes) == list(range(1, 9))


def test_its_lease_is_renewed_while_nothing_comes(store: Store, jobs: TaskJobs) -> None:
    jobs.enter(KEY, "task-1", ROWS)
    change(store, f"UPDATE jobs SET producer_lease_until = {past(store, -3)}")
    in_five = f"SELECT count(*) FROM jobs WHERE producer_lease_until > {past(store, -5)}"
    wait_until(lambda: value(store, in_five), 30, "the lease is renewed")


def test_a_worker_that_lost_its_job_begins_another(store: Store) -> None:
    jobs = TaskJobs(store, "celery@here/7", "host:1")
    jobs.enter(KEY, "task-1", ROWS)
    change(store, f"UPDATE jobs SET producer_lease_until = {past(store, 1)}")
    assert end_orphans(store) == [1]
    assert jobs.enter(KEY, "task-2", ROWS) == (2, Entered(1, 2))
    assert cancel(store, 2)
    assert jobs.enter(KEY, "task-3", ROWS) == (3, Entered(1, 2))
    # What it had entered into the lost one is known all the same.
    assert jobs.enter(KEY, "task-1", ROWS) == (3, Entered(None, 0))
    jobs.stop()


def test_leaving_ends_its_jobs(store: Store) -> None:
    jobs = TaskJobs(store, "celery@here/7", own_name())
    jobs.start()
    jobs.enter(KEY, "task-1", ROWS)
    jobs.enter(TaskJobKey(parse_ref("emotion"), "none", True, "labelstream"), "task-1", ROWS)
    jobs.stop()
    assert value(store, "SELECT count(*) FROM jobs WHERE source_exhausted") == 2
    # One has rows to label, the other has none: its task was known.
    assert [get_job(store, job).state for job in (1, 2)] == ["running", "done"]


def test_a_client_that_names_ever_new_scopes_keeps_no_more_jobs_open_than_may_be(
    store: Store, jobs: TaskJobs
) -> None:
    for number in range(TASK_JOBS + 3):
        key = TaskJobKey(parse_ref("emotion"), f"scope {number}", True, "labelstream")
        jobs.enter(key, f"task-{number}", ROWS)
    still_open = "SELECT count(*) FROM jobs WHERE NOT source_exhausted"
    assert value(store, still_open) == TASK_JOBS
    assert value(store, "SELECT max(id) FROM jobs WHERE source_exhausted") == 3


@pytest.mark.parametrize("task_id", ["x" * 100_000, "a\0b", "\ud800", ""])
def test_any_id_of_a_task_tells_it_from_others(store: Store, jobs: TaskJobs, task_id: str) -> None:
    assert jobs.enter(KEY, task_id, ROWS)[1].rows == 2
    assert jobs.enter(KEY, task_id + "x", ROWS)[1].rows == 2
    assert jobs.enter(KEY, task_id, ROWS)[1].rows == 0
