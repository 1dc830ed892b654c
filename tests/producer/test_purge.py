"""`producer purge`: a job's texts are gone, in SQLite from the bytes of the files too."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select

from db.errors import ServiceUnavailable
from db.ledger.jobs import get_job
from db.ledger.payload import ChunkRows, pack
from db.migrate import upgrade
from db.schema import Chunk, Correction, LabeledText, Reject
from db.scrubbing import scrub
from db.store import Store
from tests.producer.command import Command, command_on
from tests.producer.made_jobs import MadeJob, made_job

SECRET = "wombat-7f3a9c-distinctive"

#: Long enough that it stands in pages of its own.
LONG_SECRET = SECRET + " and words" * 2000


@pytest.fixture
def on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[tuple[Store, Command]]:
    """Make an SQLite database, and `producer` on it."""
    store = Store(f"sqlite:///{tmp_path / 'sqlite' / 'store.db'}")
    upgrade(store)
    with command_on(store.url, tmp_path, monkeypatch, capfdbinary) as command:
        yield store, command
    store.close()


def secret_job(store: Store, **values: str) -> MadeJob:
    """Two labelled rows, one reject, one correction; each tells the secret."""
    job = MadeJob(store, **values)
    job.label(job.chunk([SECRET, LONG_SECRET], rejects=[("too many fields", f"{SECRET},x")]))
    assert job.finish() == "done"
    with store.write() as connection:
        connection.execute(
            insert(Correction).values(
                job_id=job.id, row_number=1, label=f"label {SECRET}", annotator="me"
            )
        )
    return job


def count(store: Store, table: type[LabeledText | Reject | Correction], job: int) -> int:
    with store.read() as connection:
        query = select(func.count()).select_from(table).where(table.job_id == job)
        return connection.execute(query).scalar_one()


def files_of(store: Store) -> bytes:
    """Return the bytes of an SQLite database: its file and its write-ahead log."""
    file = Path(str(make_url(store.url).database))
    log = file.with_name(file.name + "-wal")
    return file.read_bytes() + (log.read_bytes() if log.exists() else b"")


def test_purge_deletes_rows_rejects_and_corrections_of_that_job_alone(
    store: Store, command: Command
) -> None:
    job = secret_job(store)
    other = secret_job(store, name="other.csv")

    result = command("purge", job.id, "--yes")

    assert (result.status, result.err) == (0, "")
    assert result.out == (
        f"job {job.id} is purged; gone: 2 labelled rows, 1 reject and 1 correction\n"
    )
    for table, left in ((LabeledText, 2), (Reject, 1), (Correction, 1)):
        assert count(store, table, job.id) == 0
        assert count(store, table, other.id) == left
    assert get_job(store, job.id).state == "purged"
    shown = command("status", job.id).out
    assert f"job {job.id} is purged" in shown
    assert "producer export" not in shown


def test_after_a_purge_no_byte_of_a_text_or_of_its_payload_is_in_sqlites_files(
    on_sqlite: tuple[Store, Command],
) -> None:
    store, command = on_sqlite
    # Chunks that a cancel leaves behind keep their payload until the purge.
    left = MadeJob(store, name="left.csv")
    left.chunk([LONG_SECRET])
    with store.read() as connection:
        payload = connection.scalar(select(Chunk.payload).where(Chunk.job_id == left.id))
    assert payload == pack(ChunkRows([1], [LONG_SECRET], ["id-1"], None))
    assert command("cancel", left.id).status == 0
    job = secret_job(store)
    made_job(store, ["a text that stays"], name="stays.csv")
    assert SECRET.encode() in files_of(store)
    assert payload in files_of(store)

    for number in (left.id, job.id):
        assert command("purge", number, "--yes").status == 0

    remaining = files_of(store)
    assert SECRET.encode() not in remaining
    assert payload not in remaining
    assert b"a text that stays" in remaining


def test_a_reader_of_an_old_snapshot_makes_scrubbing_say_so_and_it_may_be_repeated(
    on_sqlite: tuple[Store, Command],
) -> None:
    store, command = on_sqlite
    job = secret_job(store)
    reader = Store(store.url)
    with reader.read() as connection:
        connection.execute(select(LabeledText.text)).all()
        assert count(store, LabeledText, job.id) == 2
        with store.write() as writing:
            writing.execute(
                insert(Correction).values(job_id=job.id, row_number=2, label="x", annotator="me")
            )
        with pytest.raises(ServiceUnavailable, match="another program reads it"):
            scrub(store, seconds=0.2)
    reader.close()

    assert command("purge", job.id, "--yes").status == 0
    assert SECRET.encode() not in files_of(store)


#: Holds what SQLite's connections hold while they copy the log into the file: byte 121 of the
#: shared memory's file (WAL_CKPT_LOCK in its source). Lets go a moment after the log was written to.
CHECKPOINTING = """
import fcntl, os, sys, time
path = sys.argv[1]
memory = open(path + "-shm", "r+b")
fcntl.lockf(memory, fcntl.LOCK_EX, 1, 121)
written = os.stat(path + "-wal").st_mtime_ns
print("holds it", flush=True)
while os.stat(path + "-wal").st_mtime_ns == written:
    time.sleep(0.01)
time.sleep(1)
"""


def test_a_worker_that_is_just_copying_the_log_is_waited_for(
    on_sqlite: tuple[Store, Command],
) -> None:
    store, _ = on_sqlite
    secret_job(store)
    path = str(make_url(store.url).database)
    with subprocess.Popen(
        [sys.executable, "-c", CHECKPOINTING, path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holds it\n"
        scrub(store)
        assert other.wait(timeout=30) == 0


def test_purging_twice_is_harmless(store: Store, command: Command) -> None:
    job = secret_job(store)
    assert command("purge", job.id, "--yes").status == 0

    again = command("purge", job.id, "--yes")

    assert again.status == 0
    assert (
        again.out == f"job {job.id} is purged; gone: 0 labelled rows, 0 rejects and 0 corrections\n"
    )


def test_a_running_job_is_not_purged(store: Store, command: Command) -> None:
    job = MadeJob(store)
    job.label(job.chunk([SECRET]))

    result = command("purge", job.id, "--yes")

    assert result.status == 2
    assert result.err == f"error: job {job.id} is running; first: producer cancel {job.id}\n"
    assert count(store, LabeledText, job.id) == 1


def test_where_nobody_can_be_asked_purge_needs_yes(
    store: Store, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = secret_job(store)
    with Path("/dev/null").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        result = command("purge", job.id)

    assert result.status == 2
    assert result.err == (
        "error: purge deletes for good and nobody can be asked here; "
        f"say: producer purge {job.id} --yes\n"
    )
    assert count(store, LabeledText, job.id) == 2


@pytest.mark.parametrize(("answer", "status", "rows"), [("n\n", 2, 2), ("y\n", 0, 0)])
def test_at_a_terminal_purge_asks(
    store: Store,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: str,
    status: int,
    rows: int,
) -> None:
    job = secret_job(store)
    typed = tmp_path / "typed"
    typed.write_text(answer)
    with typed.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        result = command("purge", job.id)

    assert result.status == status
    assert "2 labelled rows, 1 reject and 1 correction of job" in result.err
    assert count(store, LabeledText, job.id) == rows
