"""The same text twice: classified once, by one version, and right for every copy of it."""

import itertools
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.made_engines import LABELS, MadeEngine, Meeting, expected, serving
from tests.worker.test_engine_threads import running, submit
from tests.worker.versions import version
from worker import Classifier
from worker.engine_threads import Binding, ChunkLogits, EngineThreads
from worker.engines import NEEDS_NO_MODEL, make_engine
from worker.engines.protocol import Ids, Logits

ONE = version()
TWO = version(number=2)

MIB = 2**20


class Drifting(MadeEngine):
    """Says of each row how many rows it has seen: no two computed rows have the same logits."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self._seen = first

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        found = super().logits(input_ids, attention_mask)
        found[:, 0] = np.arange(self._seen, self._seen + len(found))
        self._seen += len(found)
        return found


def label(thread: EngineThreads, binding: Binding, texts: list[str]) -> ChunkLogits:
    return submit(thread, binding, texts).result(30)


def test_equal_rows_of_a_chunk_are_computed_once_and_each_gets_the_logits() -> None:
    engine = MadeEngine()
    texts = ["one", "two", "one", "one", "four", "two"]
    with running(EngineThreads(serving(engine))) as thread, thread.bind(ONE) as binding:
        result = label(thread, binding, texts)
    assert engine.calls == [["one", "two", "four"]]
    assert result.logits.tolist() == expected(texts)
    assert (result.repeated, result.remembered, result.tokens) == (3, 0, 19)
    done = thread.statistics
    assert (done.rows, done.repeated, done.remembered, done.tokens) == (6, 3, 0, 10)
    assert done.hit_rate == 0.5


def test_equal_rows_of_several_chunks_in_one_micro_batch_are_computed_once() -> None:
    engine = MadeEngine()
    chunks = [["one", "two"], ["two", "six", "two"], ["one"]]
    thread = EngineThreads(serving(engine))
    # Submitted before the start, so that they wait side by side.
    with thread.bind(ONE) as binding:
        futures = [submit(thread, binding, chunk) for chunk in chunks]
        with running(thread):
            results = [future.result(30) for future in futures]
    assert [sorted(call) for call in engine.calls] == [["one", "six", "two"]]
    assert [result.logits.tolist() for result in results] == [expected(chunk) for chunk in chunks]
    assert [result.repeated for result in results] == [0, 2, 1]


def test_a_row_of_an_earlier_chunk_is_remembered_and_alone_needs_no_engine() -> None:
    engine = MadeEngine()
    thread = EngineThreads(serving(engine), cache_bytes=MIB)
    with running(thread), thread.bind(ONE) as binding:
        label(thread, binding, ["one", "two"])
        mixed = label(thread, binding, ["two", "new", "two", "one"])
        progress = thread.progress
        known = label(thread, binding, ["new", "one", "new"])
        assert thread.progress == progress, "the engine did nothing, and shows no progress"
    assert engine.calls == [["one", "two"], ["new"]]
    assert mixed.logits.tolist() == expected(["two", "new", "two", "one"])
    assert (mixed.repeated, mixed.remembered) == (1, 2)
    assert known.logits.tolist() == expected(["new", "one", "new"])
    assert (known.repeated, known.remembered) == (1, 2)
    assert known.busy_seconds == 0
    done = thread.statistics
    assert (done.rows, done.micro_batches, done.tokens) == (9, 2, 9)
    assert (done.repeated, done.remembered) == (2, 4)


def test_a_row_that_was_computed_while_its_equal_waited_is_not_computed_again() -> None:
    engine = MadeEngine()
    thread = EngineThreads(serving(engine), budget=3, cache_bytes=MIB)
    # A micro-batch has room for one row: none of these is known when it is submitted.
    with thread.bind(ONE) as binding:
        futures = [submit(thread, binding, chunk) for chunk in (["one", "two"], ["two", "one"])]
        with running(thread):
            first, second = [future.result(30) for future in futures]
    assert engine.calls == [["one"], ["two"]]
    assert first.logits.tolist() == expected(["one", "two"])
    assert second.logits.tolist() == expected(["two", "one"])
    assert (second.repeated, second.remembered) == (0, 2)
    assert thread.progress == 4, "a micro-batch that was remembered is over, too"


def test_without_a_cache_a_later_chunk_is_computed_again() -> None:
    engine = MadeEngine()
    thread = EngineThreads(serving(engine), cache_bytes=0)
    with running(thread), thread.bind(ONE) as binding:
        for _ in range(2):
            assert label(thread, binding, ["one", "one"]).logits.tolist() == expected(["one"]) * 2
    assert engine.calls == [["one"], ["one"]]


def test_a_row_that_fails_is_rejected_for_each_copy_and_not_remembered() -> None:
    def fail(rows: list[str]) -> None:
        if "bad" in rows:
            raise RuntimeError("bad")

    engine = MadeEngine(fail)
    thread = EngineThreads(serving(engine), cache_bytes=MIB)
    texts = ["bad", "good", "bad", "nan", "good", "nan"]
    rejected = {
        0: "engine error: RuntimeError",
        2: "engine error: RuntimeError",
        3: "non-finite logits",
        5: "non-finite logits",
    }
    with running(thread), thread.bind(ONE) as binding:
        results = [label(thread, binding, texts) for _ in range(2)]
    for result in results:
        assert result.rejected == rejected
        assert result.logits[[1, 4]].tolist() == expected(["good", "good"])
    assert engine.calls.count(["bad"]) == 4, "alone twice, for each chunk"
    computed = [text for call in engine.calls for text in call]
    assert computed.count("nan") >= 2, "computed anew for the second chunk"
    # Halved on the way to the bad one, a good one may run twice; remembered, never after.
    assert ["good"] not in engine.calls[-3:]
    assert all("good" not in call for call in engine.calls[-4:])


def test_a_row_that_failed_in_two_chunks_at_once_is_rejected_in_both() -> None:
    thread = EngineThreads(serving(MadeEngine()))
    with thread.bind(ONE) as binding:
        futures = [submit(thread, binding, chunk) for chunk in (["nan", "one"], ["two", "nan"])]
        with running(thread):
            first, second = [future.result(30) for future in futures]
    assert first.rejected == {0: "non-finite logits"}
    assert second.rejected == {1: "non-finite logits"}


def test_a_swap_mixes_no_logits_of_versions_nor_of_engines() -> None:
    # What each load of a version says begins with a hundred of its own.
    engines = iter([Drifting(100), Drifting(200), Drifting(300)])
    thread = EngineThreads(lambda _: next(engines), cache_bytes=MIB)

    def said(binding: Binding) -> list[float]:
        return [float(label(thread, binding, ["same"]).logits[0, 0]) for _ in range(2)]

    with running(thread):
        with thread.bind(ONE) as one, thread.bind(TWO) as two:
            assert said(one) == [100, 100]
            assert said(two) == [200, 200]
            assert said(one) == [100, 100]
        held = thread.memory.bytes_held
        thread.supersede(ONE_KEY, by=TWO_KEY)
        assert thread.loaded() == [TWO]
        assert thread.memory.bytes_held == held / 2, "its logits left with it"
        with thread.bind(ONE) as anew, thread.bind(TWO) as two:
            assert said(anew) == [300, 300], "loaded anew, its engine may be another"
            assert said(two) == [200, 200]


ONE_KEY, TWO_KEY = ("letters", 1), ("letters", 2)


@pytest.mark.parametrize("name", NEEDS_NO_MODEL)
def test_the_engines_of_tests_and_benchmarks_compute_every_row(name: str) -> None:
    engine = make_engine(name, None, ONE, "cpu", pace=0.0)
    reached: list[int] = []
    plain = engine.logits

    def counted(input_ids: Ids, attention_mask: Ids) -> Logits:
        reached.append(len(input_ids))
        return plain(input_ids, attention_mask)

    engine.logits = counted  # type: ignore[method-assign]
    thread = EngineThreads(lambda _: engine, cache_bytes=MIB)
    with running(thread), thread.bind(ONE) as binding:
        for _ in range(2):
            label(thread, binding, ["a", "a", "b"])
    assert sum(reached) == 6
    assert (thread.statistics.rows, thread.statistics.hit_rate) == (6, 0.0)
    assert thread.memory.bytes_held == 0


def test_a_classifier_says_the_same_of_equal_texts() -> None:
    # Long and short by turns, so that they would run in different micro-batches.
    texts = ["same", "x" * 2000, "other", "y" * 2000, "same", "other", "same"]
    with Classifier(ONE, Drifting()) as classifier:
        scores = classifier.logits(texts)[:, 0].tolist()
        assert scores[0] == scores[4] == scores[6]
        assert scores[2] == scores[5]
        assert len({scores[0], scores[1], scores[2], scores[3]}) == 4
        labels = classifier(texts)
    assert labels[0] == labels[4] == labels[6]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text("ab", max_size=5), max_size=20), max_size=6),
    st.integers(1, 40),
    st.sampled_from([0, 300, 1500, MIB]),
)
def test_every_row_gets_its_own_logits_whatever_is_remembered(
    chunks: list[list[str]], budget: int, cache_bytes: int
) -> None:
    engine = MadeEngine()
    thread = EngineThreads(serving(engine), budget=budget, limit=None, cache_bytes=cache_bytes)
    with thread.bind(version(LABELS)) as binding:
        half = len(chunks) // 2
        early = [submit(thread, binding, chunk) for chunk in chunks[:half]]
        with running(thread):
            results = [future.result(30) for future in early]
            late: list[Future[ChunkLogits]] = [
                submit(thread, binding, chunk) for chunk in chunks[half:]
            ]
            results += [future.result(30) for future in late]
    for chunk, result in zip(chunks, results, strict=True):
        assert result.logits.tolist() == expected(chunk)
        assert result.rejected == {}
    computed = [text for call in engine.calls for text in call]
    assert set(computed) == {text for chunk in chunks for text in chunk}
    if cache_bytes == MIB:
        assert len(set(computed)) == len(computed), "once in all"
    done = thread.statistics
    assert done.rows - done.repeated - done.remembered == len(computed)
    assert thread.memory.bytes_held <= cache_bytes


def test_equal_rows_in_two_micro_batches_at_once_have_the_same_logits() -> None:
    together = threading.Barrier(2)
    times = itertools.count()

    class Wavering(MadeEngine):
        """Gives other logits each time, as 8 bits do whose neighbours differ."""

        def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
            found = super().logits(input_ids, attention_mask)
            found[:, 1] = next(times)
            return found

    engine = Wavering(Meeting(together), at_once=2)
    thread = EngineThreads(serving(engine), budget=4, limit=None, cache_bytes=MIB)
    with thread.bind(ONE) as binding:
        futures = [thread.submit(binding, binding.encode(["same"])) for _ in range(2)]
        with running(thread):
            one, other = (future.result(10).logits.tolist() for future in futures)
            assert one == other
            late = thread.submit(binding, binding.encode(["same"])).result(10)
            assert late.logits.tolist() == one
    assert len(engine.calls) == 2
