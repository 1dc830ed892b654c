"""A database or broker that stays away is given up after the patience; the job goes on later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster, wait_until
from tests.databases import fresh_database
from tests.pipeline.conftest import copied
from tests.proxy import TcpProxy, proxy_to

PATIENCE = {"LABELSTREAM_PATIENCE": "2"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "".join(f"text number {n}\n" for n in range(1000)))
    return path


@pytest.fixture
def redis_proxy(redis_url: str) -> Iterator[TcpProxy]:
    with proxy_to(redis_url) as proxy:
        yield proxy


@pytest.fixture
def without_redis(
    tmp_path: Path, redis_url: str, redis_proxy: TcpProxy, starter_sqlite: str, registry: Path
) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path, redis_proxy.url(redis_url), copied(starter_sqlite, tmp_path), registry
    )
    yield cluster
    cluster.stop()


@pytest.fixture
def postgres_proxy(fresh_postgres: str) -> Iterator[TcpProxy]:
    with proxy_to(fresh_postgres) as proxy:
        yield proxy


@pytest.fixture
def fresh_postgres(postgres_server: str, starter_postgres: str) -> Iterator[str]:
    with fresh_database(postgres_server, starter_postgres) as url:
        yield url


@pytest.fixture
def without_postgres(
    tmp_path: Path, redis_url: str, fresh_postgres: str, postgres_proxy: TcpProxy, registry: Path
) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, redis_url, fresh_postgres, registry)
    cluster.settings["LABELSTREAM_DATABASE_URL"] = postgres_proxy.url(fresh_postgres)
    yield cluster
    cluster.stop()


def given_up(job: "subprocess.Popen[str]") -> list[str]:
    """Return what a producer that gave up has said."""
    out, err = job.communicate(timeout=60)
    assert (job.returncode, out) == (2, ""), err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line]
    assert lines[-1].startswith("error: "), err
    assert err.count("error: ") == 1
    return lines


def goes_on(cluster: Cluster, file: Path) -> None:
    """See that the same command goes on with the job that was given up."""
    assert cluster.rows("SELECT state FROM jobs") == [("running",)]
    again = cluster.producer("ingest", file, "--chunk-rows", "50", "--no-wait")
    assert again.returncode == 0, again.stderr
    assert "continuing job 1" in again.stderr
    assert cluster.value("SELECT sum(row_count) FROM chunks") == 1000
    assert cluster.value("SELECT count(*) FROM jobs") == 1


def test_a_broker_that_stays_away_is_given_up_also_by_a_producer_that_only_waits(
    without_redis: Cluster, redis_proxy: TcpProxy, file: Path
) -> None:
    cluster = without_redis
    options = ("--chunk-rows", "50", "--wait")
    job = cluster.start_producer("ingest", file, *options, **PATIENCE)
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM jobs WHERE source_exhausted"), 60, "all is read"
    )
    redis_proxy.black_hole()
    said = given_up(job)
    assert sum("takes no messages" in line for line in said) == 1
    assert f"broker redis://127.0.0.1:{redis_proxy.port}/0 took no messages for" in said[-1]
    assert "continue the job" in said[-1]
    redis_proxy.restore()
    goes_on(cluster, file)


def test_a_database_that_stays_away_is_given_up(
    without_postgres: Cluster, postgres_proxy: TcpProxy, file: Path
) -> None:
    cluster = without_postgres
    # Four chunks may be open, and nobody takes them: this producer has not read all.
    options = ("--chunk-rows", "50", "--max-queued", "4", "--wait")
    job = cluster.start_producer("ingest", file, *options, **PATIENCE)
    wait_until(lambda: cluster.value("SELECT count(*) FROM chunks") == 4, 60, "four are open")
    postgres_proxy.cut()
    said = given_up(job)
    assert sum("trying again for 2 s" in line for line in said) == 1
    assert f"@127.0.0.1:{postgres_proxy.port}/" in said[-1]
    assert "failed for" in said[-1]
    assert "continue the job" in said[-1]
    postgres_proxy.restore()
    goes_on(cluster, file)
