"""`producer cancel`."""

import pytest

from db.ledger.claiming import claim, look_at
from db.ledger.jobs import get_job
from db.ledger.producing import JobLost
from db.store import Store
from tests.producer.command import Command
from tests.producer.made_jobs import MadeJob, made_job


def test_cancel_says_what_stays_what_is_dropped_and_what_may_still_land(
    store: Store, command: Command
) -> None:
    job = MadeJob(store)
    job.label(job.chunk(["a", "b", "c"], rejects=[("empty text", "")]))
    held = job.chunk(["d", "e"], rejects=[("empty text", "")])
    waiting = job.chunk(["f", "g", "h", "i"])
    state = look_at(store, job.id, held)
    assert state is not None
    assert claim(store, state.job, held, "worker-1") is not None

    result = command("cancel", job.id)

    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[:2] == [
        (f"job {job.id} is cancelled: 3 labelled rows to stay, 2 rejected, 4 dropped that waited"),
        "workers hold 2 more rows now, which may still be labelled",
    ]
    assert get_job(store, job.id).state == "cancelled"
    assert claim(store, state.job, waiting, "worker-1") is None
    with pytest.raises(JobLost):
        job.chunk(["one more"])


def test_cancelling_what_has_ended_is_one_line_and_status_2(store: Store, command: Command) -> None:
    done = made_job(store, ["x"])
    cancelled = MadeJob(store, name="other.csv")
    assert command("cancel", cancelled.id).status == 0

    for job, state in ((done, "done"), (cancelled, "cancelled")):
        result = command("cancel", job.id)
        assert (result.status, result.out) == (2, "")
        assert result.err == (
            f"error: job {job.id} is {state} already, there is nothing to cancel; "
            f"see: producer status {job.id}\n"
        )
