"""What a worker tells Prometheus and its supervisor, by real processes, beside what SQL counts."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import Cluster, wait_until
from tests.pipeline.test_poison import POISONED, ROWS, source
from tests.services import free_port, start_redis

#: The samples of one scrape: by name and labels.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def asked(port: int, path: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def scraped(port: int) -> Samples:
    status, body = asked(port, "/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum over all samples of that name which have these labels."""
    return sum(
        value
        for (found, has), value in samples.items()
        if found == name and labels.items() <= dict(has).items()
    )


def serving(cluster: Cluster, **settings: str) -> int:
    """Start a worker, and return the port on which it tells."""
    port = free_port()
    cluster.start_worker(wait=True, LABELSTREAM_METRICS_PORT=str(port), **settings)
    return port


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    lines = [f"{n},text number {n % 600}" for n in range(700)]
    # Of 600 texts 100 are there twice; two rows are no rows.
    path.write_text("\n".join(["id,text", *lines, "700,too,many", "701,"]) + "\n")
    return path


def test_what_is_told_equals_what_the_database_counts(cluster: Cluster, file: Path) -> None:
    ports = [serving(cluster, LABELSTREAM_ENGINE="torch") for _ in range(2)]
    done = cluster.ingest(file, "--chunk-rows", "50")
    assert (done["labeled"], done["rejected"]) == (700, 2)
    told: list[Samples] = []

    def all_is_told() -> bool:
        # A job may be done a moment before the worker that closed its last chunk has counted it.
        told[:] = [scraped(port) for port in ports]
        return sum_of("labelstream_chunks_total", outcome="done") >= 14

    def sum_of(name: str, **labels: str) -> float:
        return sum(total(samples, name, **labels) for samples in told)

    wait_until(all_is_told, 30, "what was done is counted")
    labeled = cluster.value("SELECT count(*) FROM labeled_texts")
    version = {"model": "emotion", "model_version": "1", "engine": "torch"}
    assert sum_of("labelstream_rows_total", outcome="labeled", **version) == labeled == 700
    # The parser's two rejects are the producer's.
    rejected = cluster.value("SELECT sum(rejected_worker) FROM chunks")
    assert sum_of("labelstream_rows_total", outcome="rejected") == rejected == 0
    chunks = cluster.value("SELECT count(*) FROM chunks WHERE labeled > 0")
    assert sum_of("labelstream_chunks_total", outcome="done") == chunks
    tokens = cluster.value("SELECT sum(tokens) FROM chunks")
    computed = sum_of("labelstream_tokens_total")
    assert 0 < computed <= tokens
    assert sum_of("labelstream_padded_tokens_total") >= computed
    assert sum_of("labelstream_micro_batch_tokens_sum") == computed
    assert sum_of("labelstream_micro_batch_seconds_count") > 0
    assert sum_of("labelstream_reused_rows_total") <= 100
    for samples in told:
        assert total(samples, "labelstream_version_info", device="cpu", **version) == 1
        assert total(samples, "labelstream_workers") == 2
        assert total(samples, "labelstream_open_chunks") == 0
        assert total(samples, "labelstream_running_jobs") == 0
        assert total(samples, "labelstream_database_up") == 1
        free = total(samples, "labelstream_disk_free_bytes")
        assert 0 < free < total(samples, "labelstream_disk_size_bytes")
    body = asked(ports[0], "/metrics")[1]
    assert "text number" not in body
    assert "rows.csv" not in body


def test_rows_that_the_worker_rejects_are_told_as_the_database_counts_them(
    cluster: Cluster, tmp_path: Path
) -> None:
    poison = dict.fromkeys((7, 120, 299), "raise")
    port = serving(cluster, **POISONED)
    done = cluster.ingest(source(tmp_path, poison))
    assert (done["labeled"], done["rejected"]) == (ROWS - 3, 3)

    def told(outcome: str) -> float:
        return total(scraped(port), "labelstream_rows_total", outcome=outcome)

    wait_until(lambda: told("labeled") == ROWS - 3, 30, "what was done is counted")
    rejected = cluster.value("SELECT sum(rejected_worker) FROM chunks")
    assert told("rejected") == rejected == 3
    assert told("labeled") == cluster.value("SELECT count(*) FROM labeled_texts")


def test_what_waits_is_told_while_it_waits(cluster: Cluster, file: Path) -> None:
    port = serving(cluster, LABELSTREAM_ENGINE="fixed-time", LABELSTREAM_ENGINE_PACE="0.02")
    job = cluster.start_producer(
        "ingest", file, "--wait", "--chunk-rows", "50", "--max-queued", "6"
    )

    def waits() -> bool:
        samples = scraped(port)
        return (
            4 <= total(samples, "labelstream_open_chunks", queue="labelstream") <= 6
            and total(samples, "labelstream_open_chunks", state="leased") > 0
            and total(samples, "labelstream_lag_seconds", queue="labelstream") > 0.5
            and total(samples, "labelstream_running_jobs") == 1
        )

    wait_until(waits, 60, "what waits is told")
    # What nobody will ever label does not wait.
    assert cluster.producer("cancel", "1").returncode == 0
    job.wait(timeout=120)

    def nothing_waits() -> bool:
        samples = scraped(port)
        names = ("labelstream_lag_seconds", "labelstream_open_chunks", "labelstream_running_jobs")
        return all(total(samples, name) == 0 for name in names)

    wait_until(nothing_waits, 60, "nothing waits any more")
    assert cluster.value("SELECT count(*) FROM chunks WHERE state = 'queued'") > 0


def test_a_worker_is_ready_once_its_model_its_broker_and_its_database_are(
    tmp_path: Path, starter_sqlite: str, registry: Path
) -> None:
    if os.environ.get("LABELSTREAM_TEST_REDIS_URL"):
        pytest.skip("LABELSTREAM_TEST_REDIS_URL is set, and that server is not to be ended")
    (tmp_path / "store").mkdir()
    store = tmp_path / "store/store.db"
    store.write_bytes(Path(starter_sqlite.removeprefix("sqlite:///")).read_bytes())
    with start_redis(tmp_path) as broker:
        cluster = Cluster(tmp_path, broker, f"sqlite:///{store}", registry)
        try:
            port = serving(cluster)
            assert asked(port, "/healthz") == (200, "engine: ok\n")
            assert asked(port, "/readyz") == (200, "model: ok\ndatabase: ok\nbroker: ok\n")
            assert asked(port, "/")[0] == 404
            with redis.Redis.from_url(broker) as client:
                client.shutdown(nosave=True)

            def not_ready() -> bool:
                status, body = asked(port, "/readyz")
                return status == 503 and "broker: OperationalError\n" in body

            wait_until(not_ready, 30, "it is not ready without its broker")
            assert "database: ok\n" in asked(port, "/readyz")[1]
            # It waits for the broker, which is no reason to end it.
            assert asked(port, "/healthz")[0] == 200
            # What it has counted is told, whatever is away.
            assert total(scraped(port), "labelstream_workers") == 1
        finally:
            cluster.stop()


@pytest.fixture
def quiet_cluster(
    tmp_path: Path, redis_url: str, starter_sqlite: str, registry: Path
) -> Iterator[Cluster]:
    store = tmp_path / "quiet.db"
    store.write_bytes(Path(starter_sqlite.removeprefix("sqlite:///")).read_bytes())
    cluster = Cluster(tmp_path, redis_url, f"sqlite:///{store}", registry)
    yield cluster
    cluster.stop()


def test_a_port_that_is_taken_is_told_in_a_line(quiet_cluster: Cluster) -> None:
    port = serving(quiet_cluster, LABELSTREAM_ENGINE="constant")
    second = quiet_cluster.start_worker(
        wait=False, LABELSTREAM_ENGINE="constant", LABELSTREAM_METRICS_PORT=str(port)
    )
    assert second.wait(timeout=60) == 2
    [line] = [line for line in quiet_cluster.logs().splitlines() if line.startswith("error:")]
    assert f"port {port}" in line
    assert "LABELSTREAM_METRICS_PORT" in line


def test_a_worker_opens_no_port_unless_told(quiet_cluster: Cluster) -> None:
    worker = quiet_cluster.start_worker(LABELSTREAM_ENGINE="constant")
    connections = psutil.Process(worker.pid).net_connections(kind="inet")
    assert [each for each in connections if each.status == psutil.CONN_LISTEN] == []
