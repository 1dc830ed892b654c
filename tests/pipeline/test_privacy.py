"""Text and passwords stay where they belong, and nothing phones home."""

import contextlib
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import make_url

from db.schema import Base
from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.file_server import serve_folder

#: Stands in every text of these tests and must stand nowhere else.
SECRET_TEXT = "xylophonequartz"
SECRET_PASSWORD = "p4ssw0rd-in-a-url"


@pytest.fixture
def secret_csv(tmp_path: Path) -> Path:
    path = tmp_path / "secret.csv"
    rows = "".join(f"{n},{SECRET_TEXT} number {n}\n" for n in range(1, 601))
    path.write_text(f"id,text\n{rows}601,\n602,{SECRET_TEXT},too many\n")
    return path


class Monitor:
    """Everything that a Redis server is told, by MONITOR, and what it holds at the end."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self.lines: list[str] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    def _listen(self) -> None:
        # The server may end before this thread does.
        with (
            contextlib.suppress(redis.ConnectionError),
            self._client.monitor() as monitor,  # type: ignore[no-untyped-call]
        ):
            self._started.set()
            for command in monitor.listen():
                self.lines.append(str(command["command"]))

    def seen(self) -> str:
        return "\n".join(self.lines)


def test_no_text_in_redis_logs_or_task_events(
    cluster: Cluster, secret_csv: Path, tmp_path: Path
) -> None:
    monitor = Monitor(cluster.settings["LABELSTREAM_BROKER_URL"])
    events_log = tmp_path / "events.log"
    with events_log.open("w") as output:
        events = subprocess.Popen(
            [BIN / "celery", "-A", "worker", "events", "--dump"],
            env=clean_environment(**cluster.settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        cluster.start_worker("-E", LABELSTREAM_ENGINE="text-hash")
        done = cluster.producer("ingest", secret_csv, "--chunk-rows", "20", "--wait", "--json")
        assert done.returncode == 0, done.stderr

        def succeeded() -> int:
            return events_log.read_text().count("task succeeded")

        # The last chunk has rejects alone, and needs no task.
        wait_until(lambda: succeeded() == 30, 30, "an event of each other chunk arrives")
    finally:
        events.terminate()
        events.wait(timeout=20)
    assert cluster.value("SELECT count(*) FROM labeled_texts WHERE text LIKE '%xylophone%'") == 600
    assert "labelstream.label_chunk" in monitor.seen(), "the monitor saw the messages"
    for place in (monitor.seen(), cluster.logs(), events_log.read_text(), done.stderr, done.stdout):
        assert SECRET_TEXT not in place


def test_no_text_in_errors_when_the_database_refuses_rows(
    cluster: Cluster, secret_csv: Path
) -> None:
    refuse = {
        "postgresql": "ALTER TABLE labeled_texts ADD CONSTRAINT no_number_7 "
        "CHECK (row_number <> 7)",
        "sqlite": "CREATE TRIGGER no_number_7 BEFORE INSERT ON labeled_texts "
        "WHEN NEW.row_number = 7 BEGIN SELECT RAISE(ABORT, 'refused'); END",
    }[cluster.store.dialect]
    with cluster.store.write() as connection:
        connection.exec_driver_sql(refuse)
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    done = cluster.producer("ingest", secret_csv, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    reasons = cluster.rows("SELECT reason FROM rejects WHERE row_number = 7")
    assert len(reasons) == 1
    assert reasons[0].reason.startswith("not storable: ")
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 599
    assert cluster.value("SELECT count(*) FROM rejects") == 3
    assert SECRET_TEXT not in cluster.logs() + done.stderr + done.stdout
    assert SECRET_TEXT not in str(cluster.rows("SELECT last_error FROM chunks"))


def test_passwords_are_in_no_error(cluster: Cluster, tmp_path: Path) -> None:
    url = f"http://user:{SECRET_PASSWORD}@127.0.0.1:9/rows.csv?token={SECRET_PASSWORD}"
    done = cluster.producer("ingest", url, "--wait")
    assert done.returncode == 2
    assert SECRET_PASSWORD not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    few = tmp_path / "few.csv"
    few.write_text("text\nhello\n")
    broken = {
        "LABELSTREAM_DATABASE_URL": f"postgresql://me:{SECRET_PASSWORD}@127.0.0.1:9/db",
        "LABELSTREAM_BROKER_URL": f"redis://:{SECRET_PASSWORD}@127.0.0.1:9/0",
    }
    for name, value in broken.items():
        done = cluster.producer("ingest", few, "--wait", timeout=30, **{name: value})
        assert done.returncode == 2
        assert SECRET_PASSWORD not in done.stderr
        assert re.fullmatch(r"error: .*", done.stderr.strip().splitlines()[-1])


def test_a_password_in_a_source_is_in_no_table_log_or_output(
    cluster: Cluster, secret_csv: Path
) -> None:
    with serve_folder(secret_csv.parent) as address:
        credentials = f"user:{SECRET_PASSWORD}"
        url = f"http://{credentials}@{address}/{secret_csv.name}?token={SECRET_PASSWORD}"
        cluster.start_worker(LABELSTREAM_ENGINE="constant")
        done = cluster.producer("ingest", url, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    exported = cluster.producer("export", "1", "--format", "jsonl")
    assert exported.returncode == 0, exported.stderr
    assert secret_csv.name in cluster.value("SELECT source FROM jobs")
    tables = {
        table.name: str(cluster.rows(f"SELECT * FROM {table.name}"))
        for table in Base.metadata.sorted_tables
    }
    assert secret_csv.name in tables["jobs"]
    outputs = (done.stdout, done.stderr, exported.stdout, cluster.logs())
    assert [name for name, rows in tables.items() if SECRET_PASSWORD in rows] == []
    assert SECRET_PASSWORD not in "".join(outputs)


def test_no_password_is_in_the_process_list(
    postgres_url: str, secret_csv: Path, tmp_path: Path
) -> None:
    """The whole family of an embedded run, with the child that merges, into a database's URL."""
    url = make_url(postgres_url).set(password=SECRET_PASSWORD)
    home = tmp_path / "home"
    settings = {
        "LABELSTREAM_DATABASE_URL": url.render_as_string(hide_password=False),
        "LABELSTREAM_HOME_DIR": str(home),
    }
    migrated = subprocess.run(
        [sys.executable, "-m", "db", "upgrade"], env=clean_environment(**settings), check=False
    )
    assert migrated.returncode == 0
    process = subprocess.Popen(
        [BIN / "producer", "ingest", secret_csv, "--limit", "50"],
        env=clean_environment(**settings),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])}
        time.sleep(0.02)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    for one in ("producer ingest", "worker.embedded.keeper", "celery -A worker", "worker.merge"):
        assert any(one in line for line in seen), f"{one} was seen"
    assert [line for line in seen if SECRET_PASSWORD in line] == []
    assert SECRET_PASSWORD not in err
    assert SECRET_PASSWORD not in "".join(path.read_text() for path in home.rglob("*.log"))


CONNECT_HOOK = """
import atexit, os, sys
log = os.open(os.environ["CONNECTIONS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        os.write(log, f"{event} {address!r}\\n".encode())
sys.addaudithook(hook)
"""


def addresses_of(log: Path) -> set[str]:
    """Look at the system for other ends of connections of all processes that write `log`."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("CONNECTIONS_LOG") == str(log):
                ends = [each.raddr for each in process.net_connections("inet")]
                found |= {end.ip for end in ends if end}
    return found


def watched(command: list[str | Path], environment: dict[str, str], log: Path) -> set[str]:
    """Run a command to its good end; return whom it and what it started were connected to."""
    seen: set[str] = set()
    with (log.parent / "said").open("w+") as said:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=subprocess.DEVNULL, stderr=said
        )
        while process.poll() is None:
            seen |= addresses_of(log)
            time.sleep(0.05)
        said.seek(0)
        assert process.returncode == 0, said.read()
    return seen


def test_no_connection_leaves_the_machine(secret_csv: Path, tmp_path: Path) -> None:
    """Outside pytest and without CI: some libraries phone home only where they see neither."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(CONNECT_HOOK)
    log = tmp_path / "connections.log"
    environment = clean_environment(
        LABELSTREAM_HOME_DIR=str(tmp_path / "home"),
        PYTHONPATH=str(hooks),
        CONNECTIONS_LOG=str(log),
    )
    for name in ("CI", "PYTEST_CURRENT_TEST", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(name, None)
    code = "from worker import Classifier; print(Classifier.load('emotion:1')(['hello'])[0])"
    seen = watched([BIN / "producer", "ingest", secret_csv, "--limit", "50"], environment, log)
    seen |= watched([sys.executable, "-c", code], environment, log)
    connections = log.read_text().splitlines()
    assert any("redis" in line for line in connections), "the hook sees connections"
    away = [
        line
        for line in connections
        if not re.search(r"'(/[^']*|127\.0\.0\.1|::1|localhost)'", line)
    ]
    assert away == []
    # Code that is not Python's goes past the hook, but not past the system.
    assert seen <= {"127.0.0.1", "::1"}


def test_the_system_tells_of_a_connection_that_the_hook_does_not_see(tmp_path: Path) -> None:
    log = tmp_path / "connections.log"
    with serve_folder(tmp_path) as address:
        place = tuple(address.split(":"))
        code = f"import socket, time; kept = socket.create_connection({place}); time.sleep(1)"
        environment = clean_environment(CONNECTIONS_LOG=str(log))
        assert watched([sys.executable, "-c", code], environment, log) == {"127.0.0.1"}
