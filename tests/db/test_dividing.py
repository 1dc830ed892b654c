"""The poison rule in the ledger: strikes, halves, and the one row that is rejected at last."""

import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import text

from db.clock import db_now
from db.ledger import dividing
from db.ledger.claiming import Claim, claim, look_at, renew
from db.ledger.dividing import REASON, LostAlone, strike
from db.ledger.expiring import expire_run_out
from db.ledger.jobs import get_job
from db.ledger.payload import ChunkRows, pack, unpack
from db.ledger.stopping import cancel, purge
from db.ledger.sweeping import Sweep, Sweeper
from db.ledger.totals import job_totals
from db.schema import Chunk
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import (
    add,
    begin,
    change,
    facts,
    held,
    parsed_rejects,
    past,
    result_of,
    value,
)
from tests.db.test_sweeping import ListOutbox

RAN_OUT = Chunk.lease_until < db_now()


def alone(store: Store, job: int, number: int) -> Claim:
    """Claim a chunk as one whose lease was lost before, which must succeed."""
    suspect = "UPDATE chunks SET suspect = :yes WHERE job_id = :j AND number = :n"
    change(store, suspect, yes=True, j=job, n=number)
    taken = claim(store, facts(store, job, number), number, "worker-1", alone=True)
    assert taken is not None
    return taken


def lose(store: Store, taken: Claim) -> None:
    """Let the lease of a chunk run out."""
    change(
        store,
        f"UPDATE chunks SET lease_until = {past(store, 1)} WHERE job_id = :j AND number = :n",
        j=taken.job.id,
        n=taken.number,
    )


def rows_of(store: Store, number: int) -> ChunkRows:
    return unpack(value(store, "SELECT payload FROM chunks WHERE number = :n", n=number))


def test_a_chunk_lost_beside_others_is_not_charged(store: Store) -> None:
    writer = begin(store)
    for first in (1, 11):
        lose(store, held(store, writer.job, add(writer, first, 4)))
    assert expire_run_out(store) == 2
    assert value(store, "SELECT count(*) FROM chunks WHERE state = 'queued' AND strikes = 0") == 2


def test_a_chunk_lost_alone_is_halved(store: Store) -> None:
    writer = begin(store)
    rows = ChunkRows(
        [1, 2, 5, 6, 9],
        ["a", "b", "c", "d", "e"],
        ["id-a", None, "id-c", "id-d", "id-e"],
        [{"n": 1}, None, {"n": 3}, None, {"n": 5}],
    )
    rejects = [*parsed_rejects(3, 2), *parsed_rejects(7, 2)]
    parent = writer.add_chunk(rows, rejects, {"row": 9})
    assert parent is not None
    later = add(writer, 10, 1)
    writer.note_sent(later)
    writer.mark_sent()
    change(store, f"UPDATE chunks SET queued_at = {past(store, 90)} WHERE number = 1")
    taken = alone(store, writer.job, parent)
    lose(store, taken)
    outbox = ListOutbox()

    assert Sweeper(store, outbox, "me").sweep() == Sweep(expired=1, resent=2)

    with store.read() as connection:
        chunks = connection.execute(text("SELECT * FROM chunks ORDER BY number")).all()
    split, other, first, second = chunks
    assert (split.state, split.payload, split.lease_token, split.strikes) == (
        "split",
        None,
        None,
        1,
    )
    assert (split.row_count, split.rejected_parsed, split.rejected_worker) == (9, 4, 0)
    assert (other.state, other.number) == ("queued", later)
    assert [first.number, second.number] == [3, 4] == outbox.numbers()
    for half in (first, second):
        assert (half.state, half.parent_number, half.strikes) == ("queued", parent, 0)
        assert bool(half.suspect), "halves run alone too"
        assert (half.queue, half.queued_at) == (split.queue, split.queued_at)
    assert (first.row_count, second.row_count) == (2, 3)
    assert rows_of(store, 3) == ChunkRows([1, 2], ["a", "b"], ["id-a", None], [{"n": 1}, None])
    assert rows_of(store, 4) == ChunkRows(
        [5, 6, 9], ["c", "d", "e"], ["id-c", "id-d", "id-e"], [{"n": 3}, None, {"n": 5}]
    )
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.rejected, totals.waiting, totals.open_chunks) == (10, 4, 6, 3)
    assert add(writer, 11, 1) == 5, "the producer's next chunk has the next number"


def test_a_producer_that_commits_again_does_not_take_a_half_for_its_own_chunk(store: Store) -> None:
    writer = begin(store)
    taken = alone(store, writer.job, add(writer, 1, 2))
    lose(store, taken)
    assert expire_run_out(store) == 1
    with store.read() as connection:
        found = writer._already_added(connection, {"row": 2})
    assert found == taken.number


@pytest.mark.parametrize("store_text", [True, False])
def test_one_row_is_tried_twice_alone_and_then_rejected(store: Store, store_text: bool) -> None:
    writer = begin(store, store_text=store_text)
    number = add(writer, 7, 1)
    writer.exhaust()
    change(store, "UPDATE chunks SET payload = :p", p=pack(ChunkRows([7], ["nul \x00"], [None])))
    lose(store, alone(store, writer.job, number))
    assert Sweeper(store, ListOutbox(), "me").sweep() == Sweep(expired=1, resent=1)
    assert value(store, "SELECT strikes FROM chunks") == 1
    state = look_at(store, writer.job, number)
    assert state is not None
    assert (state.state, state.suspect) == ("queued", True)
    assert get_job(store, writer.job).state == "running"

    lose(store, alone(store, writer.job, number))
    outbox = ListOutbox()
    assert Sweeper(store, outbox, "me").sweep() == Sweep(expired=1)
    assert outbox.sent == []
    with store.read() as connection:
        (reject,) = connection.execute(text("SELECT * FROM rejects")).all()
        (chunk,) = connection.execute(text("SELECT * FROM chunks")).all()
    assert (reject.row_number, reject.reason) == (7, REASON)
    assert reject.raw == ("nul \\x00" if store_text else None)
    assert (chunk.state, chunk.payload, chunk.labeled, chunk.rejected_worker) == (
        "done",
        None,
        0,
        1,
    )
    assert (chunk.strikes, chunk.lease_token) == (2, None)
    assert chunk.done_at is not None
    assert get_job(store, writer.job).state == "done", "it was the last chunk"
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected) == (1, 0, 1)


def test_one_row_among_rejects_of_the_parser_is_one_row(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 1, rejected=3)
    for _ in range(2):
        lose(store, alone(store, writer.job, number))
        assert expire_run_out(store) == 1
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.open_chunks) == (4, 0, 4, 0)
    assert value(store, "SELECT count(*) FROM rejects") == 4


def test_the_rejects_limit_counts_such_a_row(store: Store) -> None:
    writer = begin(store, options={"max_rejects": "0"})
    number = add(writer, 1, 1)
    writer.exhaust()
    for _ in range(2):
        lose(store, alone(store, writer.job, number))
        expire_run_out(store)
    job = get_job(store, writer.job)
    assert (job.state, job.error) == (
        "failed",
        "1 of 1 rows were rejected, more than --max-rejects 0",
    )


def test_a_zombie_finds_its_chunk_divided_and_writes_nothing(store: Store) -> None:
    writer = begin(store)
    zombie = alone(store, writer.job, add(writer, 1, 4))
    lose(store, zombie)
    assert expire_run_out(store) == 1
    assert renew(store, zombie) is False
    assert close_chunk(store, zombie, result_of(zombie)) is False
    assert value(store, "SELECT count(*) FROM labeled_texts") == 0
    for number in (2, 3):
        half = alone(store, writer.job, number)
        assert close_chunk(store, half, result_of(half)) is True
    assert close_chunk(store, zombie, result_of(zombie)) is False
    assert value(store, "SELECT count(*) FROM labeled_texts") == 4
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.open_chunks) == (4, 4, 0, 0)


def test_a_lease_that_was_renewed_meanwhile_is_not_charged(store: Store) -> None:
    writer = begin(store)
    taken = alone(store, writer.job, add(writer, 1, 4))
    lost = LostAlone(writer.job, taken.number, taken.token)
    assert strike(store, lost, RAN_OUT, "lease ran out") is False
    lose(store, taken)
    assert renew(store, taken) is True
    assert strike(store, lost, RAN_OUT, "lease ran out") is False
    assert close_chunk(store, taken, result_of(taken)) is True


def test_another_claim_of_the_same_chunk_is_not_charged(store: Store) -> None:
    writer = begin(store)
    taken = alone(store, writer.job, add(writer, 1, 4))
    lose(store, taken)
    another = LostAlone(writer.job, taken.number, "another token")
    assert strike(store, another, RAN_OUT, "lease ran out") is False
    assert value(store, "SELECT strikes FROM chunks") == 0


def test_two_sweepers_at_once_divide_a_chunk_once(store: Store) -> None:
    writer = begin(store)
    for turn in range(10):
        taken = alone(store, writer.job, add(writer, turn * 4 + 1, 4))
        lose(store, taken)
        expired = at_once([partial(expire_run_out, store)] * 2)
        assert sorted(expired) == [0, 1]
        halves = "SELECT count(*) FROM chunks WHERE parent_number = :n"
        assert value(store, halves, n=taken.number) == 2
    assert value(store, "SELECT next_chunk FROM jobs") == 31
    assert job_totals(store, writer.job).rows == 40


def test_dividing_and_closing_at_once_write_a_chunk_once(store: Store) -> None:
    writer = begin(store)
    for turn in range(10):
        taken = alone(store, writer.job, add(writer, turn * 4 + 1, 4))
        lose(store, taken)
        closed, expired = at_once(
            [partial(close_chunk, store, taken, result_of(taken)), partial(expire_run_out, store)]
        )
        assert (closed, expired) in [(True, 0), (False, 1)]
        state = value(store, "SELECT state FROM chunks WHERE number = :n", n=taken.number)
        assert state == ("done" if closed else "split")
    totals = job_totals(store, writer.job)
    assert value(store, "SELECT count(*) FROM labeled_texts") == totals.labeled
    assert totals.rows == 40


def test_the_chunk_of_a_cancelled_job_is_not_divided(store: Store) -> None:
    writer = begin(store)
    taken = alone(store, writer.job, add(writer, 1, 4))
    lose(store, taken)
    cancel(store, writer.job)
    assert Sweeper(store, ListOutbox(), "me").sweep() == Sweep(expired=1)
    assert value(store, "SELECT state FROM chunks") == "queued"
    assert value(store, "SELECT strikes FROM chunks") == 0
    assert value(store, "SELECT next_chunk FROM jobs") == 2
    assert close_chunk(store, taken, result_of(taken)) is False


def test_a_divided_job_is_purged_whole_and_keeps_its_counts(store: Store) -> None:
    writer = begin(store)
    taken = alone(store, writer.job, add(writer, 1, 4, rejected=1))
    lose(store, taken)
    expire_run_out(store)
    done, late = alone(store, writer.job, 2), alone(store, writer.job, 3)
    assert close_chunk(store, done, result_of(done)) is True
    cancel(store, writer.job)
    purge(store, writer.job)
    lose(store, late)
    assert expire_run_out(store) == 0
    assert close_chunk(store, late, result_of(late)) is False
    assert value(store, "SELECT count(*) FROM chunks WHERE payload IS NOT NULL") == 0
    assert value(store, "SELECT count(*) FROM labeled_texts") == 0
    assert value(store, "SELECT count(*) FROM rejects") == 0
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.open_chunks) == (5, 2, 1, 0)


def test_dividing_while_the_job_is_cancelled_and_purged_leaves_nothing_open(store: Store) -> None:
    for turn in range(5):
        writer = begin(store, identity=f"job {turn}")
        for number in range(1, 5):
            lose(store, alone(store, writer.job, add(writer, number * 4, 4)))

        def stop(job: int = writer.job) -> None:
            cancel(store, job)
            purge(store, job)

        assert not any(
            isinstance(done, Exception)
            for done in at_once([stop, *[partial(expire_run_out, store)] * 2])
        )
        left = "SELECT count(*) FROM chunks WHERE job_id = :j AND {}"
        assert value(store, left.format("payload IS NOT NULL"), j=writer.job) == 0
        assert value(store, left.format("state IN ('queued', 'leased')"), j=writer.job) == 0
        assert job_totals(store, writer.job).rows == 16


def test_of_256_rows_the_one_that_ends_its_worker_stands_alone_after_eleven_deaths(
    store: Store,
) -> None:
    writer = begin(store)
    poison = 77
    number = add(writer, 1, 256)
    writer.exhaust()
    lose(store, held(store, writer.job, number))
    assert expire_run_out(store) == 1
    deaths = 1
    for _ in itertools.count():
        with store.read() as connection:
            queued = connection.scalars(
                text("SELECT number FROM chunks WHERE state = 'queued' ORDER BY number")
            ).all()
        if not queued:
            break
        for number in queued:
            taken = alone(store, writer.job, number)
            if poison in unpack(taken.payload).row_numbers:
                lose(store, taken)
                deaths += expire_run_out(store)
            else:
                assert close_chunk(store, taken, result_of(taken)) is True
    # Once beside others, alone with 256, 128, 64, 32, 16, 8, 4 and 2 rows, and twice by itself.
    assert deaths == 11
    with store.read() as connection:
        labeled = connection.scalars(text("SELECT row_number FROM labeled_texts ORDER BY 1")).all()
        rejected = connection.scalars(text("SELECT row_number FROM rejects")).all()
    assert rejected == [poison]
    assert labeled == [n for n in range(1, 257) if n != poison]
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.open_chunks) == (256, 255, 1, 0)
    assert get_job(store, writer.job).state == "done"


def test_a_payload_that_cannot_be_read_keeps_no_other_chunk_waiting(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    writer = begin(store)
    damaged, other = (alone(store, writer.job, add(writer, first, 2)) for first in (1, 11))
    for taken in (damaged, other):
        lose(store, taken)
    change(store, "UPDATE chunks SET payload = :p WHERE number = 1", p=b"no zstd")
    assert Sweeper(store, ListOutbox(), "me").sweep() == Sweep(expired=1, resent=2)
    assert "job 1 chunk 1 could not be taken back (ZstdError)" in caplog.text
    assert value(store, "SELECT state FROM chunks WHERE number = 2") == "split"


def test_a_job_whose_row_somebody_frozen_holds_keeps_no_other_waiting(
    postgres_store: Store,
) -> None:
    frozen, other = begin(postgres_store), begin(postgres_store, identity="another")
    stuck, free = (
        alone(postgres_store, writer.job, add(writer, 1, 2)) for writer in (frozen, other)
    )
    for taken in (stuck, free):
        lose(postgres_store, taken)
    with ThreadPoolExecutor(1) as pool, postgres_store.write() as connection:
        connection.execute(
            text("SELECT 1 FROM jobs WHERE id = :j FOR NO KEY UPDATE"), {"j": stuck.job.id}
        )
        sweeping = pool.submit(expire_run_out, postgres_store)
        assert sweeping.result(30) == 1, "it does not wait as long as any other transaction would"
    states = "SELECT state FROM chunks WHERE job_id = :j AND parent_number IS NULL"
    assert value(postgres_store, states, j=free.job.id) == "split"
    assert value(postgres_store, states, j=stuck.job.id) == "leased"
    assert expire_run_out(postgres_store) == 1, "the next sweep does what this one could not"
    assert value(postgres_store, states, j=stuck.job.id) == "split"


def test_a_chunk_that_somebody_frozen_is_closing_is_not_waited_for(
    postgres_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "db")
    writer = begin(postgres_store)
    closing, other = (alone(postgres_store, writer.job, add(writer, n, 2)) for n in (1, 11))
    for taken in (closing, other):
        lose(postgres_store, taken)
    with postgres_store.write() as connection:
        connection.execute(text("SELECT 1 FROM chunks WHERE number = 1 FOR UPDATE"))
        assert expire_run_out(postgres_store) == 1
    assert value(postgres_store, "SELECT state FROM chunks WHERE number = 1") == "leased"
    assert "could not be taken back" not in caplog.text, "nobody's patience ran out over it"


def test_the_chunk_is_locked_after_its_job_and_not_before(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dividing, "_LOCK_WAIT_MS", 60_000)
    writer = begin(postgres_store)
    lose(postgres_store, alone(postgres_store, writer.job, add(writer, 1, 2)))
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with ThreadPoolExecutor(1) as pool:
        with postgres_store.write() as connection:
            connection.execute(text("SELECT 1 FROM jobs FOR NO KEY UPDATE"))
            expired = pool.submit(expire_run_out, postgres_store)
            wait_until(lambda: value(postgres_store, waits), 60, "it waits for the job")
            # As a purge does, which would wait for ever if it were the other way round.
            connection.execute(text("SELECT 1 FROM chunks FOR UPDATE NOWAIT"))
        assert expired.result(60) == 1
