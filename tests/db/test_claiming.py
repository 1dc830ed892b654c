"""A chunk is claimed once, by a running job's worker, and held under its token alone."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from db.ledger.claiming import Claim, claim, fail_job, hand_back, look_at, renew
from db.ledger.jobs import get_job
from db.ledger.payload import unpack
from db.ledger.stopping import cancel
from db.store import Store
from tests.db.at_once import at_once
from tests.db.ledger_parts import add, begin, change, chunk_rows, facts, held, past, value


def test_eight_threads_claim_a_chunk_once(store: Store) -> None:
    writer = begin(store)
    for turn in range(10):
        number = add(writer, turn * 3 + 1, 3)
        job = facts(store, writer.job, number)
        claims = at_once([partial(claim, store, job, number, f"w{n}") for n in range(8)])
        assert not [one for one in claims if isinstance(one, Exception)]
        taken = [one for one in claims if one is not None]
        assert len(taken) == 1
        assert unpack(taken[0].payload) == chunk_rows(turn * 3 + 1, 3)
    assert value(store, "SELECT max(claims) FROM chunks") == 1


def test_a_claim_is_a_lease_under_a_new_token(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 3)
    first = held(store, writer.job, number)
    assert value(store, f"SELECT count(*) FROM chunks WHERE lease_until > {past(store, -10)}") == 1
    assert hand_back(store, first)
    second = held(store, writer.job, number)
    assert first.token != second.token
    assert value(store, "SELECT claims FROM chunks") == 2


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_a_job_that_runs_no_longer_is_not_claimed_from(store: Store, how: str) -> None:
    writer = begin(store)
    number = add(writer, 1, 3)
    job = facts(store, writer.job, number)
    assert cancel(store, 1) if how == "cancelled" else fail_job(store, 1, "no such model")
    assert claim(store, job, number, "worker-1") is None
    assert value(store, "SELECT state FROM chunks") == "queued"
    state = look_at(store, 1, number)
    assert state is not None
    assert state.job.state == how


def test_a_suspect_chunk_is_claimed_alone_only_and_no_other_is(store: Store) -> None:
    writer = begin(store)
    suspect, plain = add(writer, 1, 3), add(writer, 4, 3)
    change(store, "UPDATE chunks SET suspect = (1 = 1) WHERE number = :n", n=suspect)
    job = facts(store, writer.job, suspect)
    assert claim(store, job, suspect, "worker-1") is None
    assert claim(store, job, plain, "worker-1", alone=True) is None
    taken = claim(store, job, suspect, "worker-1", alone=True)
    assert taken is not None
    assert taken.alone
    alone = text("SELECT number FROM chunks WHERE claimed_alone")
    with store.read() as connection:
        assert connection.execute(alone).scalars().all() == [suspect]


def test_there_is_nothing_to_look_at_where_no_chunk_is(store: Store) -> None:
    writer = begin(store)
    assert look_at(store, writer.job, 7) is None
    assert look_at(store, 99, 1) is None


def stranger(taken: Claim) -> Claim:
    return replace(taken, token="0" * 32)


def test_only_the_token_renews_a_lease(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 3))
    change(store, f"UPDATE chunks SET lease_until = {past(store, 1)}")
    assert renew(store, stranger(taken)) is False
    expired = f"SELECT count(*) FROM chunks WHERE lease_until < {past(store, 0)}"
    assert value(store, expired) == 1
    assert renew(store, taken) is True
    assert value(store, expired) == 0


def test_only_the_token_hands_back_and_without_suspicion(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 3)
    writer.note_sent(number)
    writer.mark_sent()
    taken = held(store, writer.job, number)
    assert hand_back(store, stranger(taken)) is False
    assert value(store, "SELECT state FROM chunks") == "leased"
    assert hand_back(store, taken, "engine failed") is True
    with store.read() as connection:
        chunk = connection.execute(text("SELECT * FROM chunks")).one()
    assert (chunk.state, bool(chunk.suspect), chunk.last_error) == (
        "queued",
        False,
        "engine failed",
    )
    assert (chunk.sent_at, chunk.claimed_at, chunk.lease_token) == (None, None, None)
    assert chunk.payload is not None
    assert renew(store, taken) is False
    assert hand_back(store, taken) is False


def test_a_job_fails_once_and_for_its_first_reason(store: Store) -> None:
    begin(store)
    assert fail_job(store, 1, "first") is True
    assert fail_job(store, 1, "second") is False
    assert get_job(store, 1).error == "first"
    assert cancel(store, 1) is False
