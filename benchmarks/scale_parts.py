"""What each part of a deployment spends on a run: processor time, and bytes on disk."""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from tests.cluster import Cluster


@dataclass(frozen=True)
class Spent:
    """What was spent so far, or in a while: one state less another."""

    #: Seconds of processor time by part: `producer`, `worker` (all of them), `redis`, and `postgresql`
    #: where it runs on this machine. SQLite's are those of who calls it.
    cpu: Mapping[str, float]
    #: Bytes of the database, with its indexes; and of PostgreSQL's write-ahead log.
    stored: int
    logged: int

    def __sub__(self, before: "Spent") -> "Spent":
        cpu = {part: seconds - before.cpu[part] for part, seconds in self.cpu.items()}
        return Spent(cpu, self.stored - before.stored, self.logged - before.logged)


def spent(cluster: Cluster, workers: Sequence[int]) -> Spent:
    """Return what was spent so far; the producer counts, with its start, when it has ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    with redis.Redis.from_url(cluster.settings["LABELSTREAM_BROKER_URL"]) as client:
        told = client.info("cpu")
    cpu = {
        "producer": ended.ru_utime + ended.ru_stime,
        "worker": sum(_seconds(psutil.Process(worker)) for worker in workers),
        "redis": told["used_cpu_user"] + told["used_cpu_sys"],
    }
    if cluster.store.dialect == "sqlite":
        size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        return Spent(cpu, cluster.value(size), 0)
    server = _server(cluster)
    if server is not None:
        cpu["postgresql"] = _seconds_with_children(server)
    return Spent(
        cpu,
        cluster.value("SELECT pg_database_size(current_database())"),
        int(cluster.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")),
    )


def _server(cluster: Cluster) -> psutil.Process | None:
    """Return the first process of a PostgreSQL, None for one of another machine."""
    if cluster.store.engine.url.query.get("host", cluster.store.engine.url.host) not in (
        *("localhost", "127.0.0.1", "::1"),
        cluster.value("SHOW unix_socket_directories"),
    ):
        return None
    file = Path(cluster.value("SHOW data_directory")) / "postmaster.pid"
    return psutil.Process(int(file.read_text(encoding="ascii").splitlines()[0]))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _seconds_with_children(process: psutil.Process) -> float:
    # Each connection is a process of the server's: what those spent that have ended, it knows.
    times = process.cpu_times()
    living = sum(_seconds(child) for child in process.children())
    return times.user + times.system + times.children_user + times.children_system + living
