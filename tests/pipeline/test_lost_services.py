"""Redis and PostgreSQL that are cut off, mute or full in the middle of a job, and come back."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import redis
from sqlalchemy import make_url

from tests.cluster import Cluster, wait_until
from tests.databases import fresh_database
from tests.pipeline.conftest import copied
from tests.pipeline.test_deaths import LABELS
from tests.proxy import TcpProxy, proxy_to
from tests.services import administer, start_redis

#: Small chunks, few of them open: the job outlasts the troubles.
FEW = ("--chunk-rows", "50", "--max-queued", "12")

UNSENT = "state = 'queued' AND sent_at IS NULL"
RUN_OUT = "state = 'leased' AND lease_until < clock_timestamp()"


@dataclass
class Scene:
    """A worker and a producer in the middle of a job, and the service that gets into trouble."""

    cluster: Cluster
    proxy: TcpProxy
    server: redis.Redis
    rows: int
    file: Path

    def count(self, condition: str, table: str = "chunks") -> int:
        return int(self.cluster.value(f"SELECT count(*) FROM {table} WHERE {condition}"))

    def is_logged(self, words: str) -> bool:
        return words in self.cluster.logs()

    def labelled(self) -> int:
        return self.count("true", "labeled_texts")


def made(cluster: Cluster, proxy: TcpProxy, server: redis.Redis, rows: int) -> Scene:
    file = cluster.folder / "rows.csv"
    file.write_text("text\n" + "".join(f"text number {n}\n" for n in range(1, rows + 1)))
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash", LABELSTREAM_ENGINE_PACE="0.005")
    return Scene(cluster, proxy, server, rows, file)


@pytest.fixture
def without_redis(tmp_path: Path, starter_sqlite: str, registry: Path) -> Iterator[Scene]:
    """A Redis of the test's own, for its configuration is changed; it keeps the rest of a test."""
    with start_redis(tmp_path) as url, proxy_to(url) as proxy, redis.Redis.from_url(url) as server:
        cluster = Cluster(tmp_path, proxy.url(url), copied(starter_sqlite, tmp_path), registry)
        yield made(cluster, proxy, server, 4000)
        # With its disk gone it would refuse to end.
        server.config_set("save", "")
        proxy.restore()
        cluster.stop()


def check_every_row(scene: Scene) -> None:
    rows = scene.cluster.rows("SELECT row_number, text, label FROM labeled_texts ORDER BY 1")
    assert [row.row_number for row in rows] == list(range(1, scene.rows + 1))
    for row in rows:
        assert row.text == f"text number {row.row_number}"
        assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
    assert scene.cluster.value("SELECT sum(labeled) FROM chunks") == scene.rows
    assert scene.cluster.value("SELECT state FROM jobs") == "done"


def no_memory(scene: Scene) -> Callable[[], object]:
    scene.server.config_set("maxmemory", 1)
    return lambda: scene.server.config_set("maxmemory", 0)


def no_disk(scene: Scene) -> Callable[[], object]:
    gone = scene.cluster.folder / "gone"
    gone.mkdir()
    scene.server.config_set("dir", str(gone))
    gone.rmdir()
    scene.server.config_set("save", "3600 1000000")
    scene.server.bgsave()

    def mend() -> None:
        scene.server.config_set("save", "")
        scene.server.config_set("dir", str(scene.cluster.folder))
        scene.server.bgsave()

    return mend


def cut(scene: Scene) -> Callable[[], object]:
    scene.proxy.cut()
    return scene.proxy.restore


def black_hole(scene: Scene) -> Callable[[], object]:
    scene.proxy.black_hole()
    return scene.proxy.restore


def rows_flow_again(scene: Scene) -> None:
    before = scene.labelled()
    wait_until(lambda: not scene.count(UNSENT), 60, "all is sent")
    wait_until(lambda: scene.labelled() > before, 60, "rows are labelled")


def test_a_redis_that_is_cut_off_mute_or_full_loses_nothing_and_is_said_once_each_time(
    without_redis: Scene,
) -> None:
    scene = without_redis
    job = scene.cluster.start_producer("ingest", scene.file, *FEW, "--wait")
    wait_until(scene.labelled, 60, "rows flow")
    for begin in (cut, black_hole, no_memory, no_disk):
        end = begin(scene)
        # The producer goes on entering what it may, though nobody is told of it.
        wait_until(lambda: scene.count(UNSENT) >= 2, 60, "it bites")
        assert job.poll() is None, begin
        end()
        rows_flow_again(scene)
    _, err = job.communicate(timeout=120)
    assert job.returncode == 0, err + scene.cluster.logs()[-3000:]
    check_every_row(scene)
    assert err.count("takes no messages") == 4, err
    assert err.count("takes messages again") == 4, err
    assert "sweep failed" not in err, err
    logs = scene.cluster.logs()
    assert "Traceback" not in logs, logs
    assert scene.count("claims > 1") == 0, "nothing was labelled twice"


def test_what_is_no_message_ends_no_worker(without_redis: Scene) -> None:
    scene = without_redis
    junk = (b"SECRET words", b'{"a": "SECRET"}', b"[]", b"\xff\xfe", b"3")
    for item in junk:
        scene.server.lpush("labelstream", item)
    scene.cluster.ingest(scene.file, "--limit", "100")
    assert scene.labelled() == 100
    assert scene.cluster.logs().count("refused: what is no message") == len(junk)
    assert "SECRET" not in scene.cluster.logs()


@pytest.fixture
def without_postgres(
    tmp_path: Path, redis_url: str, postgres_server: str, starter_postgres: str, registry: Path
) -> Iterator[Scene]:
    """A PostgreSQL that producer and worker reach through a proxy, and the test directly."""
    with (
        fresh_database(postgres_server, starter_postgres) as url,
        proxy_to(url) as proxy,
        redis.Redis.from_url(redis_url) as server,
    ):
        cluster = Cluster(tmp_path, redis_url, url, registry)
        cluster.settings["LABELSTREAM_DATABASE_URL"] = proxy.url(url)
        yield made(cluster, proxy, server, 2000)
        proxy.restore()
        cluster.stop()


def read_only(scene: Scene) -> Callable[[], object]:
    """Let every connection, the ones that are open too, refuse to write."""
    url = make_url(scene.cluster.store.url)
    server = url.set(database="postgres").render_as_string(hide_password=False)

    def set_to(value: str) -> None:
        administer(
            server,
            f"ALTER DATABASE {url.database} SET default_transaction_read_only = {value}",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{url.database}' AND application_name = 'labelstream'",
        )

    set_to("on")
    return lambda: set_to("off")


def test_a_postgresql_that_is_cut_off_read_only_or_mute_loses_nothing_and_nothing_is_done_twice(
    without_postgres: Scene,
) -> None:
    scene = without_postgres
    job = scene.cluster.start_producer("ingest", scene.file, *FEW, "--wait")
    wait_until(scene.labelled, 60, "rows flow")
    for begin, noticed in ((cut, "trying again"), (read_only, "ReadOnlySqlTransaction")):
        end = begin(scene)
        wait_until(partial(scene.is_logged, noticed), 60, "it is noticed")
        end()
        rows_flow_again(scene)
    end = black_hole(scene)
    # Nobody who holds a chunk can renew its lease, and none of them is to be taken for dead.
    wait_until(lambda: scene.count("state = 'leased'") == scene.count(RUN_OUT) > 0, 60, "no lease")
    assert job.poll() is None
    end()
    _, err = job.communicate(timeout=120)
    assert job.returncode == 0, err + scene.cluster.logs()[-3000:]
    check_every_row(scene)
    # Troubles as short as the first two the producer may not have met.
    told = err.count("trying again for 300 s")
    assert told in (1, 2, 3), err
    assert err.count("works again") == told, err
    assert "Traceback" not in scene.cluster.logs(), scene.cluster.logs()
    assert scene.count("claims > 1") == 0, "nothing was labelled twice"
