"""Flower, as people run it beside the workers: it shows workers and tasks, and no text."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.services import free_port

WORD = "quicksilverfish"


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        body: bytes = answer.read()
        return body.decode()


@contextmanager
def flower(cluster: Cluster) -> Iterator[int]:
    """Run it as the README says, but for the port and the API, which is off by default."""
    port = free_port()
    with (cluster.folder / "flower.log").open("w") as log:
        process = subprocess.Popen(
            [BIN / "celery", "-A", "worker", "flower", "--address=127.0.0.1", f"--port={port}"],
            env=clean_environment(**cluster.settings, FLOWER_UNAUTHENTICATED_API="true"),
            cwd=cluster.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    cluster.processes.append(process)  # type: ignore[arg-type]

    def answers() -> bool:
        assert process.poll() is None, (cluster.folder / "flower.log").read_text()[-3000:]
        try:
            return get(port, "/healthcheck") == "OK"
        except OSError:
            return False

    wait_until(answers, 60, "Flower answers")
    yield port


def test_flower_shows_the_worker_and_its_tasks_and_no_text(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,text\n" + "".join(f"{n},{WORD} {n}\n" for n in range(60)))
    cluster.start_worker(LABELSTREAM_ENGINE="constant")
    with flower(cluster) as port:

        def worker_is_seen() -> bool:
            # By its signs of life, so that events of tasks are heard too.
            alive: dict[str, bool] = json.loads(get(port, "/api/workers?status=1"))
            return alive.get("w0@test", False)

        wait_until(worker_is_seen, 60, "Flower sees the worker")
        done = cluster.ingest(file, "--chunk-rows", "10")
        assert done["labeled"] == 60

        def tasks() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(get(port, "/api/tasks?limit=100"))
            return found

        def all_succeeded() -> bool:
            found = tasks().values()
            return len(found) == 6 and all(task["state"] == "SUCCESS" for task in found)

        wait_until(all_succeeded, 60, "Flower has seen each chunk's task")
        shown = tasks()
        assert {task["name"] for task in shown.values()} == {"labelstream.label_chunk"}
        job = done["job"]
        assert {task["args"] for task in shown.values()} == {
            f"(job {job} chunk {number})" for number in range(1, 7)
        }
        assert all(task["runtime"] > 0 for task in shown.values())
        pages = [json.dumps(shown), get(port, "/api/workers?refresh=1"), get(port, "/workers"),
                 get(port, "/tasks"), *(get(port, f"/task/{task}") for task in shown)]  # fmt: skip
    for page in pages:
        assert WORD not in page
        assert "rows.csv" not in page
