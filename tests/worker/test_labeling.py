"""The life of a chunk in a worker: what is dropped, refused, handed back, and written."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from sqlalchemy import text

from db.errors import RegistryError
from db.ledger.claiming import look_at
from db.ledger.jobs import get_job, ledger_id
from db.ledger.producing import JobWriter
from db.ledger.stopping import cancel
from db.registry.names import DEFAULT_ALIAS
from db.registry.versions import NewVersion, Version, add_version
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.ledger_parts import add, begin, change, facts, held, value
from tests.worker.made_engines import LABELS, Held, MadeEngine
from worker.choosing import VersionChooser
from worker.encoder import EncodedRows
from worker.engine_threads import EngineThreads
from worker.engines.text_hash import BytesEncoder
from worker.keeper import LeaseKeeper
from worker.labeling import LOAD_TRIES, ChunkLabeler
from worker.messages import ChunkMessage
from worker.refusals import Refusals

NEW = NewVersion(
    model="emotion",
    base="none",
    base_revision=None,
    base_sha256={},
    adapter="none",
    adapter_sha256={},
    labels=tuple(LABELS),
    max_length=128,
)


@dataclass
class Worker:
    """A labeler with its engine's threads, on a store with one model."""

    store: Store
    load: Callable[[Version], MadeEngine] = lambda _: MadeEngine()
    limit: float | None = None
    loads: list[Version] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = EngineThreads(self._load, limit=self.limit)
        self.keeper = LeaseKeeper(self.store, lambda: self.engine.progress)
        self.ledger = ledger_id(self.store)
        refusals = Refusals(self.store, "worker-1", pause=0.0)
        chooser = VersionChooser(self.store, self.engine, refusals, fresh_seconds=0)
        self.labeler = ChunkLabeler(
            self.store, self.ledger, self.engine, chooser, self.keeper, "worker-1"
        )
        self.engine.start()

    def _load(self, wanted: Version) -> MadeEngine:
        self.loads.append(wanted)
        return self.load(wanted)

    def label(self, job: int, chunk: int) -> bool:
        return self.labeler.label(ChunkMessage(self.ledger, job, chunk))

    def label_aside(self, job: int, chunk: int) -> "Aside":
        aside = Aside(lambda: self.label(job, chunk))
        aside.start()
        return aside


class Aside(threading.Thread):
    """A call in a thread of its own; `said` is what it returned."""

    def __init__(self, call: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.said: bool | None = None

    def run(self) -> None:
        self.said = self._call()


@pytest.fixture
def make_worker(store: Store) -> Iterator[Callable[..., Worker]]:
    """Make workers on a store that has the model `emotion`, with three labels."""
    add_version(store, NEW, who="test", alias=DEFAULT_ALIAS)
    made: list[Worker] = []

    def make(
        load: Callable[[Version], MadeEngine] = lambda _: MadeEngine(), limit: float | None = None
    ) -> Worker:
        made.append(Worker(store, load, limit))
        return made[-1]

    yield make
    for worker in made:
        worker.engine.stop()


@pytest.fixture
def job(store: Store) -> JobWriter:
    return begin(store)


def state(store: Store, job: JobWriter, chunk: int) -> str:
    found = look_at(store, job.job, chunk)
    assert found is not None
    return found.state


def test_a_chunk_is_labelled_row_by_row(
    store: Store,
    job: JobWriter,
    make_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    chunk = add(job, 1, 3)
    assert make_worker().label(job.job, chunk)
    with store.read() as connection:
        rows = connection.execute(
            text(
                "SELECT row_number, external_id, text, label, model, model_version, engine, "
                "truncated FROM labeled_texts ORDER BY row_number"
            )
        ).all()
    # What the made engine says: the second label by the first byte, a "t", over a length of 6.
    assert [tuple(row) for row in rows] == [
        (n, f"id-{n}", f"text {n}", "b", "emotion", 1, "made", False) for n in (1, 2, 3)
    ]
    assert state(store, job, chunk) == "done"
    done = [r.getMessage() for r in caplog.records if r.getMessage().startswith("chunk done")]
    assert len(done) == 1
    assert "rows=3 rejected=0 tokens=18" in done[0]
    assert "text 1" not in caplog.text


def test_rows_without_usable_logits_are_rejected_and_the_others_labelled(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    def fail(texts: list[str]) -> None:
        if "text 2" in texts:
            raise RuntimeError("text 2")

    chunk = add(job, 1, 4)
    assert make_worker(lambda _: MadeEngine(fail)).label(job.job, chunk)
    assert value(store, "SELECT count(*) FROM labeled_texts") == 3
    with store.read() as connection:
        (reject,) = connection.execute(text("SELECT row_number, reason, raw FROM rejects")).all()
    assert tuple(reject) == (2, "engine error: RuntimeError", "text 2")
    assert value(store, "SELECT labeled * 10 + rejected_worker FROM chunks") == 31


class Panic(BaseException):
    """What an encoder of Rust raises when it gives up: no Exception."""


def test_a_text_that_cannot_be_tokenised_is_rejected_and_the_others_are_labelled(
    store: Store,
    job: JobWriter,
    make_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Panicking(BytesEncoder):
        def encode(self, texts: list[str]) -> EncodedRows:
            if "text 2" in texts:
                raise Panic(f"at {texts}")
            return super().encode(texts)

    engine = MadeEngine()
    engine.encoder = Panicking()
    chunk = add(job, 1, 4)
    assert make_worker(lambda _: engine).label(job.job, chunk)
    with store.read() as connection:
        (reject,) = connection.execute(text("SELECT row_number, reason, raw FROM rejects")).all()
        labels = connection.execute(
            text("SELECT row_number, text, label FROM labeled_texts ORDER BY row_number")
        ).all()
    assert tuple(reject) == (2, "tokeniser error: Panic", "text 2")
    assert [tuple(row) for row in labels] == [(n, f"text {n}", "b") for n in (1, 3, 4)]
    assert value(store, "SELECT labeled * 10 + rejected_worker FROM chunks") == 31
    assert "text 2" not in caplog.text


@pytest.mark.parametrize("why", ["done", "leased", "no such chunk", "no such job", "cancelled"])
def test_a_message_of_a_chunk_that_is_not_to_be_had_is_dropped(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker], why: str
) -> None:
    worker = make_worker()
    chunk = add(job, 1, 3)
    if why == "done":
        assert worker.label(job.job, chunk)
    elif why == "leased":
        held(store, job.job, chunk, "worker-2")
    elif why == "cancelled":
        change(store, "UPDATE jobs SET state = 'cancelled'")
    before = value(store, "SELECT count(*) FROM labeled_texts"), state(store, job, chunk)
    asked = {"no such chunk": (job.job, 99), "no such job": (99, chunk)}
    assert worker.label(*asked.get(why, (job.job, chunk))), "the message is acknowledged"
    assert (value(store, "SELECT count(*) FROM labeled_texts"), state(store, job, chunk)) == before


def test_a_message_of_another_ledger_is_refused_in_one_line(
    store: Store,
    job: JobWriter,
    make_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = make_worker()
    chunk = add(job, 1, 3)
    assert worker.labeler.label(ChunkMessage("another-ledger", job.job, chunk))
    assert state(store, job, chunk) == "queued"
    assert worker.loads == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert "give both the same LABELSTREAM_DATABASE_URL" in line


def test_a_model_that_fails_to_load_three_times_fails_the_job_with_the_reason(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    def load(_: Version) -> MadeEngine:
        raise RegistryError("model emotion:1 is damaged")

    worker = make_worker(load)
    chunk = add(job, 1, 3)
    for tried in (1, 2):
        assert worker.label(job.job, chunk)
        assert len(worker.loads) == tried
        assert value(store, "SELECT state FROM jobs") == "running"
        assert state(store, job, chunk) == "queued", "it was not claimed for nothing"
    assert worker.label(job.job, chunk)
    assert value(store, "SELECT state FROM jobs") == "failed"
    assert value(store, "SELECT error FROM jobs") == (
        "model emotion@production was refused 3 times: model emotion:1 is damaged"
    )


def test_threads_that_waited_for_one_load_count_its_failure_once(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    labeler = make_worker().labeler
    job_facts = facts(store, job.job, add(job, 1, 3))
    error = RegistryError("model emotion:1 is damaged")
    for _ in range(4):
        labeler._count_failure(job_facts, error)
    assert value(store, "SELECT state FROM jobs") == "running"
    labeler._count_failure(job_facts, RegistryError("again"))
    assert value(store, "SELECT state FROM jobs") == "running"
    labeler._count_failure(job_facts, RegistryError("and again"))
    assert value(store, "SELECT state FROM jobs") == "failed"


def test_what_a_framework_raises_counts_as_a_refusal_and_shows_no_text_of_its_own(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    def load(_: Version) -> MadeEngine:
        raise ValueError("many\nlines")

    worker = make_worker(load)
    chunk = add(job, 1, 3)
    for _ in range(3):
        assert worker.label(job.job, chunk)
    assert value(store, "SELECT error FROM jobs").endswith(
        "refused 3 times: model emotion:1 could not be loaded (ValueError)"
    )


def test_a_load_that_succeeds_makes_up_for_those_that_failed(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    outcomes = iter([False, False, True])

    def load(_: Version) -> MadeEngine:
        if next(outcomes):
            return MadeEngine()
        raise RegistryError("damaged")

    worker = make_worker(load)
    chunk = add(job, 1, 3)
    for _ in range(3):
        assert worker.label(job.job, chunk)
    assert state(store, job, chunk) == "done"
    assert worker.labeler._load_failures == {}


def test_a_worker_that_leaves_ends_what_has_begun_and_hands_back_the_rest(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    engine = Held()
    worker = make_worker(lambda _: MadeEngine(engine))
    begun, waiting, late = (add(job, first, 3) for first in (1, 11, 21))
    first = worker.label_aside(job.job, begun)
    assert engine.inside.wait(30)
    second = worker.label_aside(job.job, waiting)
    wait_until(lambda: worker.engine.pending_rows == 3, 30, "the second chunk waits")
    worker.labeler.drain()
    second.join(30)
    assert second.said is False, "its message goes back to the queue"
    assert state(store, job, waiting) == "queued"
    assert value(store, "SELECT suspect FROM chunks WHERE number = :n", n=waiting) in (0, False)
    assert worker.label(job.job, late) is False
    assert state(store, job, late) == "queued"
    engine.go_on.set()
    first.join(30)
    assert first.said is True
    assert state(store, job, begun) == "done"
    assert value(store, "SELECT count(*) FROM labeled_texts") == 3


def test_a_chunk_that_was_taken_away_meanwhile_writes_nothing(
    store: Store,
    job: JobWriter,
    make_worker: Callable[..., Worker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Held()
    worker = make_worker(lambda _: MadeEngine(engine))
    chunk = add(job, 1, 3)
    thread = worker.label_aside(job.job, chunk)
    assert engine.inside.wait(30)
    change(store, "UPDATE chunks SET lease_token = 'another'")
    engine.go_on.set()
    thread.join(30)
    assert thread.said is True
    assert value(store, "SELECT count(*) FROM labeled_texts") == 0
    assert "was taken from this worker" in caplog.text
    assert "nothing was written now" in caplog.text


def test_a_suspect_chunk_runs_while_its_process_holds_no_other(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    engine = Held()
    worker = make_worker(lambda _: MadeEngine(engine))
    other, suspect = add(job, 1, 3), add(job, 11, 3)
    change(store, "UPDATE chunks SET suspect = :yes WHERE number = :n", yes=True, n=suspect)
    first = worker.label_aside(job.job, other)
    assert engine.inside.wait(30)
    second = worker.label_aside(job.job, suspect)
    wait_until(lambda: worker.labeler._gate.waiting == 1, 30, "the suspect waits to be alone")
    assert state(store, job, suspect) == "queued", "no lease runs while it waits"
    engine.go_on.set()
    first.join(30)
    second.join(30)
    assert (first.said, second.said) == (True, True)
    assert state(store, job, suspect) == "done"
    alone = "SELECT claimed_alone FROM chunks WHERE number = :n"
    assert value(store, alone, n=suspect) in (1, True)
    assert value(store, alone, n=other) in (0, False)


def test_a_worker_that_leaves_takes_no_suspect_chunk_along_from_the_gate(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    engine = Held()
    worker = make_worker(lambda _: MadeEngine(engine))
    other, suspect, newcomer = (add(job, first, 3) for first in (1, 11, 21))
    change(store, "UPDATE chunks SET suspect = :yes WHERE number = :n", yes=True, n=suspect)
    inside = worker.label_aside(job.job, other)
    assert engine.inside.wait(30)
    gate = worker.labeler._gate
    waiting = [worker.label_aside(job.job, suspect)]
    wait_until(lambda: gate.waiting == 1, 30, "the suspect waits at the gate")
    waiting.append(worker.label_aside(job.job, newcomer))
    wait_until(lambda: gate.waiting == 2, 30, "so does who came after it")
    worker.labeler.drain()
    for thread in waiting:
        thread.join(30)
        assert thread.said is False, "its message goes back to the queue"
    assert not inside.said, "the chunk inside is still being computed"
    assert [state(store, job, chunk) for chunk in (suspect, newcomer)] == ["queued", "queued"]
    assert value(store, "SELECT sum(claims) FROM chunks") == 1
    engine.go_on.set()
    inside.join(30)
    assert state(store, job, other) == "done"


def test_two_suspect_chunks_of_one_process_run_one_after_the_other(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    held_then: list[int] = []

    def look(texts: list[str]) -> None:
        if {"text 1", "text 21"} & set(texts):
            leased = value(store, "SELECT count(*) FROM chunks WHERE state = 'leased'")
            held_then.append(leased)

    worker = make_worker(lambda _: MadeEngine(look))
    chunks = [add(job, first, 3) for first in (1, 11, 21, 31)]
    for chunk in chunks[::2]:
        change(store, "UPDATE chunks SET suspect = :yes WHERE number = :n", yes=True, n=chunk)
    labels = [partial(worker.label, job.job, chunk) for chunk in chunks]
    assert at_once(labels) == [True] * 4
    assert [state(store, job, chunk) for chunk in chunks] == ["done"] * 4
    assert held_then == [1, 1], "each suspect is the only chunk of its process"
    assert value(store, "SELECT count(*) FROM labeled_texts") == 12


def test_tokenising_has_a_limit_too(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    left: list[float] = []

    class Looking(BytesEncoder):
        def encode(self, texts: list[str]) -> EncodedRows:
            left.extend(
                end - time.monotonic() for end in worker.engine._watchdog._deadlines.values()
            )
            return super().encode(texts)

    engine = MadeEngine()
    engine.encoder = Looking()
    worker = make_worker(lambda _: engine, limit=5.0)
    assert worker.label(job.job, add(job, 1, 3))
    assert [seconds > 5 for seconds in left] == [True], "and it is not that of a micro-batch"


def test_messages_of_a_job_that_has_ended_load_nothing(
    store: Store, make_worker: Callable[..., Worker]
) -> None:
    def damaged(_: Version) -> MadeEngine:
        raise RegistryError("its files are damaged")

    worker = make_worker(damaged)
    pinned = begin(store, model_ref="emotion:1")
    chunks = [add(pinned, first, 2) for first in range(1, 11, 2)]
    assert all(worker.label(pinned.job, chunk) for chunk in chunks)
    assert get_job(store, pinned.job).state == "failed"
    assert len(worker.loads) == LOAD_TRIES, "the other messages are dropped at a look"


def test_what_is_known_of_a_job_is_forgotten_when_it_runs_no_longer(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker()
    chunks = [add(job, first, 2) for first in (1, 3, 5)]
    assert worker.label(job.job, chunks[0])
    assert list(worker.labeler._jobs) == [job.job]
    assert cancel(store, job.job)
    assert worker.label(job.job, chunks[1])
    assert not worker.labeler._jobs
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2
