"""Another Celery client sends texts: labelled once, whatever it sends, and whoever dies."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.databases import fresh_database
from tests.proxy import proxy_to
from tests.test_readme import README

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
TASK = "labelstream.label_texts"

#: Stands in every text and must stand nowhere but in the database.
SECRET = "xylophonequartz"


class Client:
    """A Celery client that knows nothing of Labelstream but a name and the form of a message."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.app = Celery(broker=cluster.settings["LABELSTREAM_BROKER_URL"])
        self.app.conf.task_ignore_result = True

    def send(self, *arguments: Any, name: str = TASK, **options: Any) -> str:
        options = {"queue": "labelstream", "task_id": str(uuid.uuid4()), **options}
        self.app.send_task(name, args=arguments, **options)
        return str(options["task_id"])

    def send_texts(self, *texts: str, **values: Any) -> str:
        task_id = values.pop("task_id", None) or str(uuid.uuid4())
        rows = [{"text": text} for text in texts]
        return self.send({"v": 1, "rows": rows, **values}, task_id=task_id)

    def wait_for(self, *texts: str) -> list[Any]:
        """Wait until each text is labelled; return its rows, in the order of `texts`."""

        def labelled() -> list[Any]:
            rows = self.cluster.rows("SELECT * FROM labeled_texts")
            found = [row for text in texts for row in rows if row.text == text]
            return found if {row.text for row in found} == set(texts) else []

        return wait_until(labelled, 60, f"{len(texts)} texts are labelled")  # type: ignore[no-any-return]


@pytest.fixture
def client(hashing: Cluster) -> Iterator[Client]:
    made = Client(hashing)
    yield made
    made.app.close()


def right_label(text: str) -> str:
    return LABELS[zlib.crc32(text.encode()) % len(LABELS)]


def test_texts_of_another_client_are_labelled(client: Client) -> None:
    rows = [
        {"text": f"{SECRET} first", "id": "a-1", "extra": {"user": "me", "likes": 3}},
        {"text": f"{SECRET} second", "id": 17},
    ]
    client.send({"v": 1, "rows": rows, "model": "emotion:1", "id_scope": "tickets"})
    first, second = client.wait_for(f"{SECRET} first", f"{SECRET} second")
    assert [row.label for row in (first, second)] == [
        right_label(row.text) for row in (first, second)
    ]
    assert (first.external_id, second.external_id) == ("a-1", "17")
    assert (first.row_number, second.row_number) == (1, 2)
    assert first.id_scope == "tickets"
    assert '"likes"' in str(first.extra)
    job = client.cluster.rows("SELECT * FROM jobs WHERE id = :job", job=first.job_id)[0]
    assert job.source.startswith("tasks of w0@test/")
    assert (job.stream, job.state, job.model_ref) == ("task", "running", "emotion:1")
    chunk = client.cluster.rows("SELECT * FROM chunks WHERE job_id = :job", job=first.job_id)[0]
    assert (chunk.claims, chunk.sent_at is not None) == (1, True)


def test_the_example_sends_texts(client: Client, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "send_texts.py"
    done = subprocess.run(
        [sys.executable, example, f"{SECRET} one", f"{SECRET} two"],
        env=clean_environment(**client.cluster.settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = client.wait_for(f"{SECRET} one", f"{SECRET} two")
    assert [row.external_id for row in rows] == done.stdout.split()


def test_the_task_of_the_readme_is_labelled(client: Client, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(from celery.*?)```", README, re.DOTALL)
    broker = client.cluster.settings["LABELSTREAM_BROKER_URL"]
    code = code.replace("redis://localhost:6379/0", broker)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60, check=True)
    (row,) = client.wait_for("what a day")
    assert (row.external_id, json.loads(row.extra)) == ("t1", {"user": "me"})


def test_a_task_that_is_delivered_again_changes_nothing(client: Client) -> None:
    task_id = client.send_texts(f"{SECRET} once")
    client.wait_for(f"{SECRET} once")
    client.send_texts(f"{SECRET} once", task_id=task_id)
    client.send_texts(f"{SECRET} other text, same id", task_id=task_id)
    client.send_texts(f"{SECRET} after")
    client.wait_for(f"{SECRET} after")
    log = client.cluster.worker_log(0)
    wait_until(lambda: log.read_text().count("task known already") == 2, 60, "both are known")
    again = client.cluster.value(
        "SELECT count(*) FROM labeled_texts WHERE text LIKE '%once' OR text LIKE '%same id'"
    )
    assert again == 1


def test_bad_rows_are_rejected_and_their_neighbours_labelled(client: Client) -> None:
    client.send_texts(f"{SECRET} good 1", "  ", f"{SECRET} nul \0", f"{SECRET} good 2")
    good = client.wait_for(f"{SECRET} good 1", f"{SECRET} good 2")
    assert good[1].row_number - good[0].row_number == 3
    rejects = client.cluster.rows(
        "SELECT * FROM rejects WHERE job_id = :job ORDER BY row_number", job=good[0].job_id
    )
    assert [(row.reason, row.raw) for row in rejects] == [
        ("empty text", "  "),
        ("NUL character", f"{SECRET} nul \\x00"),
    ]
    assert [row.row_number - good[0].row_number for row in rejects] == [1, 2]
    client.send_texts(" ", f"{SECRET} nul \0")
    wait_until(
        lambda: client.cluster.value("SELECT count(*) FROM rejects") == 4, 60, "rejects alone"
    )


ROW = {"text": SECRET}

#: Messages that are not to be acted on: arguments, and options of sending.
WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((SECRET,), {}),
    (([SECRET],), {}),
    ((None,), {}),
    ((), {}),
    (({"v": 1, "rows": [ROW]}, SECRET), {}),
    (({"v": 1, "rows": [ROW]},), {"kwargs": {"text": SECRET}}),
    (({"v": 1, "rows": [ROW]},), {"kwargs": {SECRET: 1}}),
    (({"v": 2, "rows": [ROW]},), {}),
    (({"v": 1, "rows": [{"text": SECRET, SECRET: 1}]},), {}),
    (({"v": 1, "rows": [ROW], "model": "nothing"},), {}),
    (({"v": 1, "rows": [ROW], "model": f"{SECRET} {SECRET}"},), {}),
    (({"v": 1, "rows": [{"text": SECRET * 500_000}]},), {}),
    ((SECRET * 1_000_000,), {}),
    # Messages for the other task, and for none.
    ((SECRET,), {"name": "labelstream.label_chunk"}),
    (({"text": SECRET},), {"name": "labelstream.label_chunk", "kwargs": {"a": SECRET}}),
    (({"v": 1, "rows": [ROW]},), {"name": "labelstream.label_text"}),
]


def test_wrong_messages_are_refused_without_a_word_of_them_and_harm_nothing(
    client: Client,
) -> None:
    cluster = client.cluster
    before = (
        cluster.value("SELECT count(*) FROM jobs"),
        cluster.value("SELECT count(*) FROM chunks"),
    )
    for arguments, options in WRONG:
        client.send(*arguments, **options)
    send_malformed(client)
    client.send_texts("after all the wrong ones", id_scope="wrong")
    client.wait_for("after all the wrong ones")
    log = cluster.worker_log(0)
    wait_until(
        lambda: log.read_text().count("refused: ") >= len(WRONG) + 4, 60, "each one is refused"
    )
    after = cluster.value("SELECT count(*) FROM jobs"), cluster.value("SELECT count(*) FROM chunks")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1), "those of the good one"
    assert SECRET not in log.read_text()
    assert "Traceback" not in log.read_text()
    server = redis.Redis.from_url(cluster.settings["LABELSTREAM_BROKER_URL"])
    wait_until(lambda: not server.hlen("unacked"), 60, "every message is acknowledged")
    server.close()


def send_malformed(client: Client) -> None:
    """Send four messages whose bodies are not what Celery writes."""
    headers = {"lang": "py", "task": TASK, "id": "malformed", "argsrepr": SECRET}
    with client.app.connection_for_write() as connection:
        producer = connection.Producer(serializer="json")
        for body, more in (
            ({"text": SECRET}, headers),
            (SECRET, headers),
            ([{"text": SECRET}, {}, {}], headers),
            ({"text": SECRET}, {}),
        ):
            producer.publish(body, routing_key="labelstream", headers=more)


def test_no_text_in_logs_task_events_or_inspection(client: Client, tmp_path: Path) -> None:
    """Also at DEBUG, and though the client lets its texts be shown."""
    cluster = client.cluster
    cluster.start_worker(
        "-Q", "watched", LABELSTREAM_ENGINE="text-hash", LABELSTREAM_LOG_LEVEL="DEBUG",
        LABELSTREAM_ENGINE_PACE="3",
    )  # fmt: skip
    number = len(cluster.processes) - 1
    events_log = tmp_path / "events.log"
    environment = clean_environment(**cluster.settings)
    with events_log.open("w") as output:
        events = subprocess.Popen(
            [BIN / "celery", "-A", "worker", "events", "--dump"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "heartbeat" in events_log.read_text(), 60, "events arrive")
        rows = [{"text": f"{SECRET} watched"}]
        shown = {"argsrepr": f"({SECRET},)", "kwargsrepr": SECRET}
        client.send({"v": 1, "rows": rows}, queue="watched", **shown)
        client.send(SECRET, queue="watched", name="labelstream.label_chunk", **shown)
        inspect = client.app.control.inspect(destination=[f"w{number}@test"], timeout=0.5)
        inspected = wait_until(
            lambda: str(found) if TASK in str(found := inspect.active()) else "",
            60,
            "it is seen at work",
        )
        client.wait_for(f"{SECRET} watched")
        wait_until(lambda: events_log.read_text().count("task succeeded") >= 2, 60, "both end")
    finally:
        events.terminate()
        events.wait(timeout=20)
    assert "(not shown)" in inspected
    assert TASK in events_log.read_text()
    for place in (events_log.read_text(), inspected, cluster.logs()):
        assert SECRET not in place


def test_a_worker_that_leaves_ends_the_jobs_of_its_tasks(client: Client) -> None:
    cluster = client.cluster
    worker = cluster.start_worker("-Q", "leaving", LABELSTREAM_ENGINE="text-hash")
    client.send({"v": 1, "rows": [{"text": "before it leaves"}]}, queue="leaving")
    row = client.wait_for("before it leaves")[0]
    worker.terminate()
    worker.wait(60)
    job = cluster.rows("SELECT * FROM jobs WHERE id = :job", job=row.job_id)[0]
    assert (job.state, job.queue) == ("done", "leaving")


def test_a_killed_worker_loses_no_task(cluster: Cluster) -> None:
    client = Client(cluster)
    victim = cluster.start_worker(LABELSTREAM_ENGINE="text-hash", LABELSTREAM_ENGINE_PACE="1")
    texts = [f"{SECRET} {n}" for n in range(12)]
    ids = [client.send_texts(*texts[first : first + 4]) for first in (0, 4, 8)]
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM chunks WHERE state = 'leased'") == 3,
        60,
        "it has entered the tasks and holds their chunks",
    )
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(timeout=10)
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 0
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    # A queue that delivers them once more; Redis itself would do so after an hour.
    for first, task_id in zip((0, 4, 8), ids, strict=True):
        client.send_texts(*texts[first : first + 4], task_id=task_id)
    rows = client.wait_for(*texts)
    assert [row.label for row in rows] == [right_label(row.text) for row in rows]
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM jobs WHERE state = 'done' AND stream = 'task'"),
        60,
        "the sweeper ends the job of the killed worker",
    )
    wait_until(lambda: cluster.logs().count("task known already") == 3, 60, "each is known already")
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 12
    client.app.close()


def test_a_task_that_cannot_be_entered_goes_back_into_its_queue(
    postgres_server: str, starter_postgres: str, registry: Path, redis_url: str, tmp_path: Path
) -> None:
    with fresh_database(postgres_server, starter_postgres) as url, proxy_to(url) as proxy:
        cluster = Cluster(tmp_path, redis_url, url, registry)
        client = Client(cluster)
        try:
            cluster.start_worker(
                LABELSTREAM_ENGINE="text-hash",
                LABELSTREAM_PATIENCE="2",
                LABELSTREAM_DATABASE_URL=proxy.url(url),
            )
            client.send_texts(f"{SECRET} before")
            client.wait_for(f"{SECRET} before")
            proxy.cut()
            client.send_texts(f"{SECRET} meanwhile")
            log = cluster.worker_log(0)
            wait_until(lambda: "goes back into its queue" in log.read_text(), 60, "it goes back")
            proxy.restore()
            client.wait_for(f"{SECRET} meanwhile")
            assert cluster.value("SELECT count(*) FROM labeled_texts") == 2
            assert SECRET not in log.read_text()
        finally:
            client.app.close()
            cluster.stop()
