"""Workers that are told to leave: in order, in time whatever they wait for, at once when told twice."""

import signal
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import Cluster, wait_until
from tests.databases import fresh_database
from tests.pipeline.test_deaths import LABELS
from tests.proxy import TcpProxy, proxy_to

#: Chunks of 100 for all eight threads of two workers, of which the first micro-batch has two at most.
ROWS = 800

#: A worker whose first micro-batch lasts a minute: 128 rows of 16 bytes.
SLOW = {
    "LABELSTREAM_ENGINE": "text-hash",
    "LABELSTREAM_ENGINE_PACE": "0.5",
    "LABELSTREAM_MICRO_BATCH_LIMIT": "300",
}


@dataclass
class Scene:
    """Workers that hold chunks, or nothing, behind proxies to Redis and PostgreSQL."""

    cluster: Cluster
    redis: TcpProxy
    postgres: TcpProxy
    file: Path

    def chunks(self, condition: str) -> int:
        return int(self.cluster.value(f"SELECT count(*) FROM chunks WHERE {condition}"))

    def log(self, process: "subprocess.Popen[str]") -> str:
        return self.cluster.worker_log(self.cluster.processes.index(process)).read_text()


@pytest.fixture
def scene(
    tmp_path: Path, redis_url: str, postgres_server: str, starter_postgres: str, registry: Path
) -> Iterator[Scene]:
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "".join(f"text number {n}\n" for n in range(1, ROWS + 1)))
    with (
        fresh_database(postgres_server, starter_postgres) as url,
        proxy_to(redis_url) as redis,
        proxy_to(url) as postgres,
    ):
        cluster = Cluster(tmp_path, redis.url(redis_url), url, registry)
        cluster.settings["LABELSTREAM_DATABASE_URL"] = postgres.url(url)
        yield Scene(cluster, redis, postgres, file)
        redis.restore()
        postgres.restore()
        cluster.stop()


def test_a_worker_leaves_in_time_whatever_it_waits_for_and_at_once_when_told_twice(
    scene: Scene,
) -> None:
    cluster = scene.cluster
    patient, hurried = (cluster.start_worker(wait=False, **SLOW) for _ in range(2))
    idle = cluster.start_worker("-Q", "other", wait=False, LABELSTREAM_ENGINE="constant")
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM workers") == 3, 120, "three workers are ready"
    )
    cluster.producer("ingest", scene.file, "--chunk-rows", "100", "--no-wait")
    wait_until(
        lambda: cluster.value(
            "SELECT count(*) FROM chunks WHERE state = 'leased'"
        ) == ROWS // 100,
        60,
        "both hold as many chunks as they have threads",
    )  # fmt: skip

    for _ in range(2):
        hurried.send_signal(signal.SIGTERM)
        wait_until(lambda: "Warm shutdown" in scene.log(hurried), 60, "it was told")
    assert hurried.wait(60) == 128 + signal.SIGTERM
    assert "left at once" in scene.log(hurried)
    left = scene.chunks("state = 'leased'")
    assert left >= 2, "it held chunks, and so does the other"

    # What has not begun is handed back, under no suspicion, though Redis is mute.
    scene.redis.black_hole()
    patient.send_signal(signal.SIGTERM)
    wait_until(lambda: "handed back" in scene.log(patient), 60, "what has not begun is handed back")
    assert scene.chunks("state = 'queued' AND claims = 1 AND NOT suspect") >= 1
    scene.postgres.black_hole()
    idle.send_signal(signal.SIGTERM)
    assert patient.wait(60) == 0
    assert "chunks are not done after 25 s" in scene.log(patient)
    assert idle.wait(60) == 0
    assert "Traceback" not in scene.log(patient) + scene.log(idle)

    scene.redis.restore()
    scene.postgres.restore()
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    wait_until(lambda: cluster.value("SELECT state FROM jobs") == "done", 120, "the job is done")
    rows = cluster.rows("SELECT row_number, text, label FROM labeled_texts ORDER BY row_number")
    assert [row.row_number for row in rows] == list(range(1, ROWS + 1))
    for row in rows:
        assert row.text == f"text number {row.row_number}"
        assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
