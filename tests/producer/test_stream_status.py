"""`producer status` of what has no end: rows in, labelled, rejected, waiting, lag and rate."""

import json

from db.store import Store
from tests.producer.command import Command
from tests.producer.made_jobs import MadeJob, made_job


def two_producers(store: Store) -> tuple[MadeJob, MadeJob]:
    """Two jobs of one stream: 3 labelled and 1 rejected of the one, 2 that wait of the other."""
    jobs = [
        MadeJob(store, name="redis://host/0", identity=str(number), stream="redis")
        for number in (1, 2)
    ]
    jobs[0].label(jobs[0].chunk(["x"] * 3, rejects=[("empty text", "")]))
    jobs[1].chunk(["y"] * 2)
    return jobs[0], jobs[1]


def test_the_overview_adds_up_the_jobs_of_a_stream(store: Store, command: Command) -> None:
    first, second = two_producers(store)
    made_job(store, ["z"])

    found = json.loads(command("status", "--json").out)
    (stream,) = found["streams"]

    assert stream.pop("lag_seconds") > 0
    assert stream.pop("rows_per_second_last_minute") > 0
    assert stream == {
        "source": "redis://host/0",
        "stream": "redis",
        "jobs": [second.id, first.id],
        "producers": 2,
        "rows": 6,
        "labeled": 3,
        "rejected": 1,
        "waiting": 2,
    }
    assert [job["stream"] for job in found["jobs"]] == [None, "redis", "redis"]
    shown = command("status").out
    assert "rows/s now" in shown
    assert f"{second.id}, {first.id}" in shown


def test_one_job_of_a_stream_tells_how_it_flows(store: Store, command: Command) -> None:
    first, second = two_producers(store)

    found = json.loads(command("status", second.id, "--json").out)

    assert found["stream"] == "redis"
    assert found["lag_seconds"] > 0
    assert found["rows_per_second_last_minute"] == 0
    shown = command("status", first.id).out
    assert "4 rows in, 3 labelled, 1 rejected, 0 waiting, lag 0.0 s, " in shown


def test_without_streams_there_is_no_table_of_them(store: Store, command: Command) -> None:
    job = made_job(store, ["z"])

    assert json.loads(command("status", "--json").out)["streams"] == []
    assert "rows/s now" not in command("status").out
    found = json.loads(command("status", job.id, "--json").out)
    assert found["stream"] is None
    assert "lag_seconds" not in found
