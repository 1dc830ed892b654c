"""A worker process that is gone: its machine sees it, and nobody waits for its leases."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from db.ledger.claiming import claim
from db.ledger.expiring import expire_gone
from db.ledger.sweeping import Sweep, Sweeper
from db.ledger.workers import (
    WorkerRecord,
    forget_unseen,
    gone_workers,
    living_workers,
    record_worker,
)
from db.processes import own_name
from db.store import Store
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, facts, held, past, result_of, value
from tests.db.test_sweeping import ListOutbox

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing is concluded of any process"
)


def record(name: str, process: str | None) -> WorkerRecord:
    return WorkerRecord(name, ["emotion:1"], "torch", "cpu", ["labelstream"], process)


@pytest.fixture
def dead() -> str:
    """Name of a process that has ended."""
    code = "from db.processes import own_name; print(own_name())"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def stopped() -> Iterator[str]:
    """Name of a process that is stopped, and may come back."""
    code = (
        "import os, signal; from db.processes import own_name; print(own_name(), flush=True);"
        "os.kill(os.getpid(), signal.SIGSTOP)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    process.stdout.close()


def states(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.scalars(text("SELECT state FROM chunks ORDER BY number")))


def test_what_a_process_held_that_is_gone_is_queued_again_at_once(
    store: Store, dead: str, stopped: str
) -> None:
    writer = begin(store)
    pid, _, began = dead.partition("/")
    container = f"{pid}/0123456789ab.{began.rpartition('.')[2]}"
    processes = {
        "dead": dead,
        "alive": own_name(),
        "zombie": stopped,
        "elsewhere": container,
        "older": None,
    }
    taken = []
    for place, (name, process) in enumerate(processes.items()):
        record_worker(store, record(name, process))
        taken.append(held(store, writer.job, add(writer, place * 10 + 1, 2), name))
    taken.append(held(store, writer.job, add(writer, 91, 2), "nobody has heard of it"))

    assert expire_gone(store) == 1

    assert states(store) == ["queued", *["leased"] * 5]
    assert value(store, "SELECT last_error FROM chunks WHERE number = 1") == "its process is gone"
    assert [worker.name for worker in living_workers(store)] == [
        "alive", "elsewhere", "older", "zombie",
    ]  # fmt: skip
    assert [close_chunk(store, each, result_of(each)) for each in taken] == [False, *[True] * 5]
    assert expire_gone(store) == 0


def test_whoever_has_the_duty_each_sweeper_looks_at_its_own_machine(
    store: Store, dead: str
) -> None:
    assert Sweeper(store, ListOutbox(), "another machine's").sweep() == Sweep()
    writer = begin(store)
    record_worker(store, record("dead", dead))
    held(store, writer.job, add(writer, 1, 2), "dead")
    ours = ListOutbox()
    assert Sweeper(store, ours, "ours").sweep() is None, "it has no duty"
    assert states(store) == ["queued"]
    assert ours.numbers() == [1], "nor does the message wait for who has it"
    assert Sweeper(store, ListOutbox(), "another machine's").sweep() == Sweep()


def test_what_was_alone_in_a_process_that_is_gone_is_charged(store: Store, dead: str) -> None:
    writer = begin(store)
    number = add(writer, 1, 2)
    change(store, "UPDATE chunks SET suspect = :yes", yes=True)
    assert claim(store, facts(store, writer.job, number), number, "dead", alone=True)
    record_worker(store, record("dead", dead))
    assert expire_gone(store) == 1
    assert states(store) == ["split", "queued", "queued"]


def test_messages_of_suspect_chunks_that_it_took_along_are_sent_again(
    store: Store, dead: str
) -> None:
    writer = begin(store)
    suspect, other = add(writer, 1, 2), add(writer, 11, 2)
    for number in (suspect, other):
        writer.note_sent(number)
        writer.mark_sent()
    change(store, "UPDATE chunks SET suspect = :yes WHERE number = :n", yes=True, n=suspect)
    outbox = ListOutbox()
    assert Sweeper(store, outbox, "me").sweep() == Sweep()
    record_worker(store, record("dead", dead))
    assert Sweeper(store, outbox, "me").sweep() == Sweep(resent=1)
    assert outbox.numbers() == [suspect]


def test_a_chunk_that_somebody_frozen_is_claiming_is_not_waited_for(
    postgres_store: Store, dead: str
) -> None:
    store = postgres_store
    writer = begin(store)
    for first in (1, 11):
        writer.note_sent(add(writer, first, 2))
        writer.mark_sent()
    change(store, "UPDATE chunks SET suspect = true")
    record_worker(store, record("dead", dead))
    with ThreadPoolExecutor(1) as pool, store.write() as connection:
        connection.execute(text("SELECT 1 FROM chunks WHERE number = 1 FOR UPDATE"))
        assert pool.submit(expire_gone, store).result(30) == 0
    assert value(store, "SELECT number FROM chunks WHERE sent_at IS NULL") == 2


def test_a_worker_that_is_gone_is_not_forgotten_while_it_seems_to_hold_a_chunk(
    postgres_store: Store, dead: str
) -> None:
    store = postgres_store
    writer = begin(store)
    record_worker(store, record("dead", dead))
    held(store, writer.job, add(writer, 1, 2), "dead")
    with store.write() as connection:
        connection.execute(text("SELECT 1 FROM chunks FOR UPDATE"))
        assert expire_gone(store) == 0
    assert gone_workers(store) == ["dead"]
    assert expire_gone(store) == 1
    assert gone_workers(store) == []


def test_the_duty_of_a_process_that_is_gone_is_not_waited_for(
    store: Store, dead: str, stopped: str
) -> None:
    assert Sweeper(store, ListOutbox(), dead).sweep() == Sweep()
    assert Sweeper(store, ListOutbox(), stopped).sweep() == Sweep()
    assert value(store, "SELECT holder FROM leases") == stopped
    assert Sweeper(store, ListOutbox(), own_name()).sweep() is None, "who is stopped may come back"


def test_workers_that_nobody_has_seen_for_a_day_are_forgotten(store: Store) -> None:
    for name in ("long gone", "lately"):
        record_worker(store, record(name, None))
    change(
        store,
        f"UPDATE workers SET seen_at = {past(store, 86_460)} WHERE name = 'long gone'",
    )
    change(store, f"UPDATE workers SET seen_at = {past(store, 86_340)} WHERE name = 'lately'")
    forget_unseen(store)
    assert value(store, "SELECT name FROM workers") == "lately"
