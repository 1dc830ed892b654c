"""The threads that compute: every row once, versions apart, failures kept to the guilty."""

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import RegistryError
from db.registry.versions import Version
from tests.cluster import wait_until
from tests.worker.made_engines import Held, MadeEngine, Meeting, expected, serving
from tests.worker.versions import version
from worker.engine_threads import Binding, ChunkLogits, EngineThreads
from worker.engines.protocol import EngineOutOfMemory, Ids, Logits
from worker.loaded_versions import PINNED_SECONDS

ONE = version()
TWO = version(number=2)


@contextmanager
def running(thread: EngineThreads) -> Iterator[EngineThreads]:
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def submit(thread: EngineThreads, binding: Binding, texts: list[str]) -> "Future[ChunkLogits]":
    return thread.submit(binding, binding.encode(texts))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text("abc", max_size=30), max_size=20), max_size=6),
    st.integers(1, 99),
    st.integers(1, 3),
)
def test_every_row_gets_its_own_logits_however_it_was_packed(
    chunks: list[list[str]], budget: int, at_once: int
) -> None:
    engine = MadeEngine(at_once=at_once)
    thread = EngineThreads(serving(engine), budget=budget, limit=None)
    # Submitted before the start, so that rows of many chunks are packed together.
    with thread.bind(ONE) as binding:
        futures = [submit(thread, binding, chunk) for chunk in chunks]
        with running(thread):
            results = [future.result(10) for future in futures]
    for chunk, result in zip(chunks, results, strict=True):
        assert result.logits.tolist() == expected(chunk)
        assert result.rejected == {}
        assert result.tokens == sum(len(text) for text in chunk)
    computed = [text for call in engine.calls for text in call]
    assert set(computed) == {text for chunk in chunks for text in chunk}
    for text in computed:
        assert computed.count(text) <= sum(text in chunk for chunk in chunks), "once a chunk"
    for call in engine.calls:
        assert len(set(call)) == len(call), "once a micro-batch"
        assert len(call) == 1 or len(call) * max(map(len, call)) <= budget


def test_small_chunks_that_wait_side_by_side_run_in_one_micro_batch() -> None:
    engine = MadeEngine()
    thread = EngineThreads(serving(engine), budget=100, limit=None)
    chunks = [["one"], ["two", "six"], ["ten"], []]
    with thread.bind(ONE) as binding:
        futures = [submit(thread, binding, chunk) for chunk in chunks]
        with running(thread):
            results = [future.result(10) for future in futures]
    assert [sorted(call) for call in engine.calls] == [["one", "six", "ten", "two"]]
    assert [result.logits.tolist() for result in results] == [expected(chunk) for chunk in chunks]


def test_a_micro_batch_is_as_large_as_its_engine_wants_it() -> None:
    engine = MadeEngine()
    engine.micro_batch_tokens = 6
    thread = EngineThreads(serving(engine), limit=None)
    with thread.bind(ONE) as binding:
        future = submit(thread, binding, ["one", "two", "six", "ten"])
        with running(thread):
            assert future.result(10).logits.tolist() == expected(["one", "two", "six", "ten"])
    assert [len(call) for call in engine.calls] == [2, 2]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_as_many_micro_batches_are_under_way_as_the_engine_computes_at_once(at_once: int) -> None:
    together = threading.Barrier(at_once)
    inside: list[str] = []
    most: list[int] = []

    def before(texts: list[str]) -> None:
        inside.extend(texts)
        most.append(len(inside))
        together.wait(10)
        # Long enough for one too many to come.
        time.sleep(0.01)
        inside.remove(texts[0])

    engine = MadeEngine(before, at_once)
    thread = EngineThreads(serving(engine), budget=4, limit=None)
    texts = [f"{number:04}" for number in range(6)]
    with running(thread), thread.bind(ONE) as binding:
        result = submit(thread, binding, texts).result(30)
    assert result.rejected == {}
    assert result.logits.tolist() == expected(texts)
    assert max(most) == at_once


def test_beside_a_version_that_computes_two_at_once_one_that_does_not_has_its_turn() -> None:
    under_way: list[int] = []
    held = Held()

    def alone(_: list[str]) -> None:
        under_way.append(len(first.calls) - len(done))

    done: list[str] = []

    def before(texts: list[str]) -> None:
        held(texts)
        done.extend(texts)

    first, second = MadeEngine(before, at_once=2), MadeEngine(alone)
    engines = {1: first, 2: second}
    thread = EngineThreads(lambda wanted: engines[wanted.version], budget=4, limit=None)
    with running(thread), thread.bind(ONE) as one, thread.bind(TWO) as two:
        futures = [submit(thread, one, ["aaaa"])]
        assert held.inside.wait(10)
        # It came second, and waits until nothing is under way; those after it wait for it.
        futures += [submit(thread, two, ["bbbb"]), submit(thread, one, ["cccc", "dddd"])]
        time.sleep(0.05)
        assert (first.calls, second.calls) == ([["aaaa"]], [])
        held.go_on.set()
        for future in futures:
            future.result(10)
    assert under_way == [0]
    assert thread.statistics.micro_batches == 4


def test_of_micro_batches_side_by_side_each_has_its_part_of_the_time() -> None:
    together = threading.Barrier(2)

    def before(_: list[str]) -> None:
        together.wait(10)
        time.sleep(0.2)

    thread = EngineThreads(serving(MadeEngine(before, at_once=2)), budget=4, limit=None)
    with running(thread), thread.bind(ONE) as binding:
        result = submit(thread, binding, ["aaaa", "bbbb"]).result(10)
    # Each was under way for 0.2 s at least, at the same time: together that is one of them.
    assert 0.2 <= result.busy_seconds < 0.39
    assert thread.statistics.busy_seconds == pytest.approx(result.busy_seconds)


class Broken:
    """Lets the first calls of an engine break beside the engine itself, all of them at once."""

    def __init__(self, engine: MadeEngine, error: BaseException, calls: int = 1) -> None:
        self._together = threading.Barrier(calls)
        self._error = error
        self._left = calls
        self._lock = threading.Lock()
        engine.before = self

    def __call__(self, _: list[str]) -> None:
        with self._lock:
            breaks, self._left = self._left > 0, self._left - 1
        if breaks:
            self._together.wait(10)
            raise self._error


class Gone(BaseException):
    """What no engine is expected to raise."""


@pytest.mark.parametrize("calls", [1, 2])
def test_micro_batches_of_one_chunk_that_are_lost_are_told_once_and_the_threads_go_on(
    calls: int,
) -> None:
    engine = MadeEngine(at_once=2)
    Broken(engine, Gone(), calls)
    thread = EngineThreads(serving(engine), budget=4, limit=None)
    with running(thread), thread.bind(ONE) as binding:
        with pytest.raises(Gone):
            submit(thread, binding, ["aaaa", "bbbb", "cccc", "dddd"]).result(10)
        texts = ["eeee", "ffff", "gggg"]
        assert submit(thread, binding, texts).result(10).logits.tolist() == expected(texts)
        assert thread.is_alive
    assert thread.pending_rows == 0


def test_a_chunk_that_failed_is_told_when_nothing_of_it_is_under_way_any_more() -> None:
    held = Held()

    def before(texts: list[str]) -> None:
        if texts == ["bbbb"]:
            held(texts)
        else:
            held.inside.wait(10)
            raise Gone

    thread = EngineThreads(serving(MadeEngine(before, at_once=2)), budget=4, limit=None)
    with running(thread), thread.bind(ONE) as binding:
        future = submit(thread, binding, ["aaaa", "bbbb"])
        assert held.inside.wait(10)
        time.sleep(0.1)
        assert not future.done(), "a suspect would be let in beside what still runs of it"
        held.go_on.set()
        with pytest.raises(Gone):
            future.result(10)


def test_where_the_system_gives_no_further_thread_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = EngineThreads(serving(MadeEngine(at_once=3)), budget=4, limit=None)
    with running(thread), thread.bind(ONE) as binding:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            texts = [f"{number:04}" for number in range(5)]
            result = submit(thread, binding, texts).result(10)
        assert result.logits.tolist() == expected(texts)
        assert thread.is_alive


def test_what_waits_behind_a_row_that_is_withdrawn_does_not_wait_for_it() -> None:
    held = Held()
    engines = {1: MadeEngine(held, at_once=2), 2: MadeEngine()}
    thread = EngineThreads(lambda wanted: engines[wanted.version], budget=4, limit=None)
    with running(thread), thread.bind(ONE) as one, thread.bind(TWO) as two:
        # Both threads are there, and one rests.
        first = submit(thread, one, ["aaaa"])
        assert held.inside.wait(10)
        blocking = submit(thread, two, ["bbbb"])
        behind = submit(thread, one, ["cccc"])
        assert thread.withdraw(blocking)
        wait_until(lambda: len(engines[1].calls) == 2, 10, "the one behind it is computed")
        assert not first.done()
        held.go_on.set()
        behind.result(10)
        first.result(10)


def test_few_rows_are_shared_out_among_the_threads() -> None:
    together = threading.Barrier(2)
    engine = MadeEngine(Meeting(together), at_once=2)
    thread = EngineThreads(serving(engine), budget=4096, limit=None)
    texts = [f"{number:04}" + "x" * 60 for number in range(16)]
    with thread.bind(ONE) as binding:
        future = submit(thread, binding, texts)
        with running(thread):
            assert future.result(10).logits.tolist() == expected(texts)
    assert [len(call) for call in engine.calls] == [8, 8], "half of 1,024 tokens each"


def test_an_engine_is_warm_with_a_call_of_as_many_threads_as_compute_at_once() -> None:
    """One after the other: first calls of two at once were seen to wait for each other for ever."""
    calling = threading.Lock()
    callers: list[threading.Thread] = []

    def alone(_: list[str]) -> None:
        assert calling.acquire(blocking=False), "another first call is under way"
        time.sleep(0.05)
        assert all(caller.is_alive() for caller in callers)
        callers.append(threading.current_thread())
        calling.release()

    engine = MadeEngine(alone, at_once=3)
    thread = EngineThreads(serving(engine), limit=None, warm_up=["warm"])
    with running(thread), thread.bind(ONE):
        assert engine.calls == [["warm"]] * 3
    assert len(set(callers)) == 3


def test_four_threads_at_once_load_a_version_once() -> None:
    loads: list[Version] = []
    gate = threading.Barrier(4)

    def load(wanted: Version) -> MadeEngine:
        loads.append(wanted)
        time.sleep(0.05)  # the others come meanwhile
        return MadeEngine()

    def bind(_: int) -> str:
        gate.wait(10)
        with thread.bind(ONE) as binding:
            return binding.engine_name

    thread = EngineThreads(load)
    with running(thread), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(bind, range(4))) == ["made"] * 4
    assert loads == [ONE]


def test_a_load_that_fails_reaches_all_who_wait_and_the_old_version_serves_on() -> None:
    started = threading.Barrier(4)
    tries: list[Version] = []

    def load(wanted: Version) -> MadeEngine:
        if wanted == ONE:
            return MadeEngine()
        tries.append(wanted)
        time.sleep(0.05)
        raise RegistryError("model letters:2 is damaged")

    def bind(_: int) -> str:
        started.wait(10)
        with pytest.raises(RegistryError) as raised:
            thread.bind(TWO)
        return str(raised.value)

    with running(EngineThreads(load)) as thread, thread.bind(ONE) as binding:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(bind, range(4))) == {"model letters:2 is damaged"}
        assert submit(thread, binding, ["a"]).result(10).logits.tolist() == expected(["a"])
        assert thread.loaded() == [ONE]
        before = len(tries)
        with pytest.raises(RegistryError):
            thread.bind(TWO)
        assert len(tries) == before + 1, "the next who asks tries anew"


@pytest.mark.parametrize("bad", [[0], [255], [3, 4, 200], [*range(0, 256, 16)]])
def test_only_the_rows_that_raise_are_rejected(bad: list[int]) -> None:
    texts = [f"b{n:03}" if n in bad else f"g{n:03}" for n in range(256)]

    def fail(rows: list[str]) -> None:
        if any(row.startswith("b") for row in rows):
            raise RuntimeError("a row's text stands here: b003")

    engine = MadeEngine(fail)
    with running(EngineThreads(serving(engine))) as thread, thread.bind(ONE) as binding:
        result = submit(thread, binding, texts).result(10)
    assert result.rejected == dict.fromkeys(bad, "engine error: RuntimeError")
    good = [n for n in range(256) if n not in bad]
    assert result.logits[good].tolist() == expected([texts[n] for n in good])
    for n in bad:
        assert engine.calls.count([texts[n]]) == 2, "alone twice"


def test_a_row_that_fails_once_is_not_rejected() -> None:
    left = iter([RuntimeError()])

    def fail_once(_: list[str]) -> None:
        for error in left:
            raise error

    engine = MadeEngine(fail_once)
    with running(EngineThreads(serving(engine))) as thread, thread.bind(ONE) as binding:
        result = submit(thread, binding, ["alone"]).result(10)
    assert result.rejected == {}
    assert result.logits.tolist() == expected(["alone"])


def test_a_micro_batch_that_does_not_fit_the_memory_is_halved_until_it_does() -> None:
    def fail(rows: list[str]) -> None:
        if len(rows) > 2:
            raise EngineOutOfMemory

    engine = MadeEngine(fail)
    texts = [f"t{n}" for n in range(8)]
    with running(EngineThreads(serving(engine))) as thread, thread.bind(ONE) as binding:
        result = submit(thread, binding, texts).result(10)
    assert result.rejected == {}
    assert result.logits.tolist() == expected(texts)


def test_logits_that_are_no_numbers_reject_their_row_alone() -> None:
    with running(EngineThreads(serving(MadeEngine()))) as thread, thread.bind(ONE) as binding:
        result = submit(thread, binding, ["fine", "nan", "also fine"]).result(10)
    assert result.rejected == {1: "non-finite logits"}
    assert result.logits[[0, 2]].tolist() == expected(["fine", "also fine"])


def test_logits_of_a_wrong_shape_are_no_logits() -> None:
    class Wrong(MadeEngine):
        def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
            return np.zeros((1, 1), np.float32)

    with running(EngineThreads(lambda _: Wrong())) as thread, thread.bind(ONE) as binding:
        result = submit(thread, binding, ["a", "b"]).result(10)
    assert set(result.rejected) == {0, 1}


def test_two_versions_at_once_never_share_a_micro_batch() -> None:
    engines = {1: MadeEngine(), 2: MadeEngine()}
    thread = EngineThreads(lambda wanted: engines[wanted.version])
    with thread.bind(ONE) as one, thread.bind(TWO) as two:
        pairs = [
            (submit(thread, binding, [f"{name}{n}" for n in range(20)]), name)
            for binding, name in [(one, "x"), (two, "y")] * 5
        ]
        with running(thread):
            for future, name in pairs:
                assert future.result(10).logits[:, 1].tolist() == [float(ord(name))] * 20
    assert {text[0] for call in engines[1].calls for text in call} == {"x"}
    assert {text[0] for call in engines[2].calls for text in call} == {"y"}


def test_a_superseded_version_stays_while_it_is_held_and_leaves_after() -> None:
    engines: list[weakref.ref[MadeEngine]] = []

    def load(_: Version) -> MadeEngine:
        engine = MadeEngine()
        engines.append(weakref.ref(engine))
        return engine

    with running(EngineThreads(load)) as thread:
        held = thread.bind(ONE)
        with thread.bind(TWO):
            assert thread.loaded() == [TWO, ONE]
        thread.supersede(("letters", 1), by=("letters", 2))
        assert submit(thread, held, ["a"]).result(10).logits.tolist() == expected(["a"])
        assert thread.loaded() == [TWO, ONE]
        held.release()
        held.release()
        assert thread.loaded() == [TWO]
        gc.collect()
        assert engines[0]() is None, "its memory is free"
        assert engines[1]() is not None


def test_of_too_many_versions_the_least_recently_used_leaves() -> None:
    thread = EngineThreads(lambda _: MadeEngine(), max_loaded=3)
    made = [version(number=number) for number in range(1, 6)]
    with running(thread):
        held = thread.bind(made[0])
        for each in made[1:]:
            with thread.bind(each):
                pass
        assert thread.loaded() == [made[4], made[3], made[0]], "one that is held does not leave"
        held.release()
        with thread.bind(made[3]), thread.bind(made[1]):
            pass
        assert thread.loaded() == [made[1], made[3], made[4]]


def test_a_superseded_version_that_a_job_names_stays_for_its_next_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running(EngineThreads(lambda _: MadeEngine())) as thread:
        with thread.bind(ONE, pinned=True), thread.bind(TWO):
            pass
        thread.supersede(("letters", 1), by=("letters", 2))
        assert thread.loaded() == [TWO, ONE]
        later = time.monotonic() + PINNED_SECONDS
        monkeypatch.setattr(time, "monotonic", lambda: later)
        thread.evict()
        assert thread.loaded() == [TWO]


def test_a_version_computes_once_before_it_is_bound_and_beside_the_one_that_serves() -> None:
    engines = {1: MadeEngine(), 2: MadeEngine()}
    with running(
        EngineThreads(lambda wanted: engines[wanted.version], warm_up=("warm", "up"))
    ) as thread:
        with thread.bind(ONE) as binding:
            assert engines[1].calls == [["warm", "up"]]
            submit(thread, binding, ["text"]).result(10)
            thread.load(TWO).result(10)
        assert engines[1].calls == [["warm", "up"], ["text"]]
        assert engines[2].calls == [["warm", "up"]]
        assert thread.statistics.rows == 1, "what warms up is nobody's row"


def test_while_a_version_computes_for_the_first_time_rows_flow_on_the_old_one() -> None:
    held = Held()
    engines = {1: MadeEngine(), 2: MadeEngine(held)}
    thread = EngineThreads(lambda wanted: engines[wanted.version], warm_up=("warm",))
    with running(thread), thread.bind(ONE) as binding:
        loading = thread.load(TWO)
        assert held.inside.wait(10)
        assert submit(thread, binding, ["text"]).result(10).logits.tolist() == expected(["text"])
        assert thread.loaded() == [ONE]
        held.go_on.set()
        loading.result(10)
        assert set(map(str, thread.loaded())) == {"letters:1", "letters:2"}


@pytest.mark.parametrize("warm_up", [("fine", "nan"), ("bad",)])
def test_a_version_that_cannot_compute_does_not_load(warm_up: tuple[str, ...]) -> None:
    def fail(texts: list[str]) -> None:
        if "bad" in texts:
            raise RuntimeError("no such operator")

    def load(wanted: Version) -> MadeEngine:
        return MadeEngine(fail if wanted == TWO else lambda _: None)

    with running(EngineThreads(load, warm_up=warm_up)) as thread:
        if warm_up == ("bad",):
            with thread.bind(ONE):
                pass
        before = thread.loaded()
        with pytest.raises(RegistryError, match=r"letters:2 cannot compute: (engine|non-finite)"):
            thread.bind(TWO)
        assert thread.loaded() == before


def test_idle_time_is_counted_while_rows_wait_and_only_then() -> None:
    thread = EngineThreads(serving(MadeEngine()))
    with running(thread), thread.bind(ONE) as binding:
        time.sleep(3)
        submit(thread, binding, ["a"]).result(10)
        assert thread.statistics.longest_idle_seconds < 2
    late = EngineThreads(serving(MadeEngine()))
    with late.bind(ONE) as binding:
        future = submit(late, binding, ["a"])
        time.sleep(0.3)
        with running(late):
            future.result(10)
    assert late.statistics.longest_idle_seconds >= 0.3


def test_a_submission_is_withdrawn_before_it_has_begun_and_not_after() -> None:
    held = Held()
    with running(EngineThreads(serving(MadeEngine(held)))) as thread, thread.bind(ONE) as binding:
        first = submit(thread, binding, ["first"])
        assert held.inside.wait(10)
        second = submit(thread, binding, ["second", "third"])
        assert thread.pending_rows == 2
        assert thread.withdraw(first) is False
        assert thread.withdraw(second) is True
        assert thread.pending_rows == 0
        held.go_on.set()
        assert first.result(10).logits.tolist() == expected(["first"])
        with pytest.raises(CancelledError):
            second.result(10)


def test_stopping_ends_the_micro_batch_and_cancels_the_rest() -> None:
    held = Held()
    engine = MadeEngine(held)
    thread = EngineThreads(serving(engine), budget=8)
    thread.start()
    binding = thread.bind(ONE)
    begun = submit(thread, binding, ["first"])
    assert held.inside.wait(10)
    waiting = submit(thread, binding, ["second"])
    stopper = threading.Thread(target=thread.stop)
    stopper.start()
    wait_until(waiting.cancelled, 10, "what waits is cancelled")
    held.go_on.set()
    stopper.join(10)
    assert not stopper.is_alive()
    assert engine.calls == [["first"]]
    assert begun.cancelled() or begun.done()
    assert submit(thread, binding, ["late"]).cancelled()


def test_progress_counts_each_call_that_came_back() -> None:
    thread = EngineThreads(serving(MadeEngine()), budget=4)
    with running(thread), thread.bind(ONE) as binding:
        submit(thread, binding, ["ab", "cd", "ef", "gh"]).result(10)
    assert thread.progress == 2
    assert thread.statistics.rows == 4
    assert thread.statistics.tokens == 8


@pytest.mark.parametrize(
    ("warm_up", "at_once"),
    [((), 1), (("text",), 1), ((), 2)],
    ids=["serving", "loading", "beside-another"],
)
def test_a_process_that_hangs_inside_the_engine_ends_itself(
    warm_up: tuple[str, ...], at_once: int
) -> None:
    code = f"""
import ctypes
import time
from tests.worker.made_engines import MadeEngine
from tests.worker.versions import version
from worker.engine_threads import EngineThreads

def hang(texts):
    if texts == ["fine"]:
        return
    # Native code that keeps the interpreter lock: no thread of Python's own could end it.
    ctypes.PyDLL(None).sleep(60)

thread = EngineThreads(
    lambda _: MadeEngine(hang, {at_once}), limit=1.0, warm_up={warm_up}, budget=4
)
thread.start()
with thread.bind(version()) as binding:
    for _ in range({at_once - 1} * 10):
        thread.submit(binding, binding.encode(["fine"])).result()
    thread.submit(binding, binding.encode(["text", "fine"])).result()
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == -signal.SIGALRM
    assert "in hang" in done.stderr, "where it hung is told"
    assert time.monotonic() - started < 40
