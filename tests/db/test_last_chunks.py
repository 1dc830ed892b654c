"""The last chunks of a job on PostgreSQL, stopped at the very moments that matter."""

import threading
from functools import partial

from sqlalchemy import Connection, event

from db.ledger.ending import end_if_complete
from db.ledger.jobs import get_job
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, held, result_of, value


def test_two_closings_that_have_written_all_before_either_commits_end_the_job(
    postgres_store: Store,
) -> None:
    store = postgres_store
    writer = begin(store)
    claims = [held(store, writer.job, add(writer, first, 2)) for first in (1, 3)]
    writer.exhaust()
    both_wrote = threading.Barrier(2)
    of_thread = threading.local()

    def meet(_: Connection) -> None:
        if not getattr(of_thread, "met", False):
            of_thread.met = True
            both_wrote.wait(20)

    event.listen(store.engine, "commit", meet)
    closings = at_once([partial(close_chunk, store, one, result_of(one)) for one in claims])
    event.remove(store.engine, "commit", meet)
    assert closings == [True, True]
    assert get_job(store, writer.job).state == "done"


def test_looking_for_the_end_does_not_wait_for_a_closing_that_is_under_way(
    postgres_store: Store,
) -> None:
    store = postgres_store
    writer = begin(store)
    claims = [held(store, writer.job, add(writer, first, 2)) for first in (1, 3)]
    writer.exhaust()
    wrote, looked = threading.Event(), threading.Event()
    slow: list[int] = []

    def pause(_: Connection) -> None:
        # Of the slow closing alone, and once: its rows hold the job by their foreign key.
        if threading.get_ident() in slow:
            slow.clear()
            wrote.set()
            looked.wait(20)

    def close_slowly() -> None:
        slow.append(threading.get_ident())
        close_chunk(store, claims[0], result_of(claims[0]))

    event.listen(store.engine, "commit", pause)
    closing = threading.Thread(target=close_slowly)
    closing.start()
    assert wrote.wait(20)
    states: list[str] = []
    look = threading.Thread(target=lambda: states.append(end_if_complete(store, writer.job)))
    look.start()
    try:
        wait_until(lambda: states == ["running"], 10, "the look is over before the closing")
    finally:
        looked.set()
        closing.join(30)
        look.join(30)
    assert close_chunk(store, claims[1], result_of(claims[1]))
    assert get_job(store, writer.job).state == "done"
    assert value(store, "SELECT count(*) FROM labeled_texts") == 4
