"""A micro-batch, call by call; and what happens when it is lost beside the engine."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tests.worker.made_engines import LABELS, MadeEngine, expected, serving
from tests.worker.versions import version
from worker.computing import Computed, compute
from worker.engine_threads import EngineThreads


def fail_for_bad(rows: list[str]) -> None:
    if "bad" in rows:
        raise RuntimeError("bad")


def computed(engine: MadeEngine, texts: list[str], limits: list[str]) -> Computed:
    @contextmanager
    def limited() -> Iterator[None]:
        limits.append("begun")
        try:
            yield
        finally:
            limits.append("over")

    return compute(engine, engine.encoder.encode(texts), len(LABELS), limited)


def test_each_call_of_the_engine_has_a_limit_of_its_own_however_often_it_is_halved() -> None:
    engine, limits = MadeEngine(fail_for_bad), list[str]()
    found = computed(engine, ["a", "bad", "c", "d"], limits)
    assert found.rejected == {1: "engine error: RuntimeError"}
    assert found.logits[[0, 2, 3]].tolist() == expected(["a", "c", "d"])
    assert engine.calls == [
        ["a", "bad", "c", "d"],
        ["a", "bad"],
        ["a"],
        ["bad"],
        ["bad"],
        ["c", "d"],
    ]
    assert limits == ["begun", "over"] * 6


def test_running_out_of_memory_of_python_is_halved_too() -> None:
    def fail(rows: list[str]) -> None:
        if len(rows) > 1:
            raise MemoryError

    assert computed(MadeEngine(fail), ["a", "b", "c"], []).rejected == {}


def test_logits_that_are_no_array_are_no_logits() -> None:
    class Odd(MadeEngine):
        def logits(self, *_: object) -> list[float]:  # type: ignore[override]
            return [1.0, 2.0, 3.0]

    assert computed(Odd(), ["a"], []).rejected == {0: "engine error: AttributeError"}


def test_an_infinite_logit_rejects_its_row_alone() -> None:
    class Infinite(MadeEngine):
        def logits(self, *arguments: np.ndarray) -> np.ndarray:
            found = super().logits(*arguments)
            found[0, 1] = np.inf
            return found

    assert computed(Infinite(), ["a", "b"], []).rejected == {0: "non-finite logits"}


def test_a_micro_batch_that_is_lost_beside_the_engine_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter([OSError("lost")])

    def once_lost(*arguments: object) -> Computed:
        for error in left:
            raise error
        return compute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.repeats.compute", once_lost)
    thread = EngineThreads(serving(MadeEngine()), budget=2, limit=None)
    with thread.bind(version(LABELS)) as binding:
        lost = thread.submit(binding, binding.encode(["a", "b", "c", "d"]))
        spared = thread.submit(binding, binding.encode(["e", "f"]))
        thread.start()
        with pytest.raises(OSError, match="lost"):
            lost.result(10)
        assert spared.result(10).logits.tolist() == expected(["e", "f"])
        assert thread.pending_rows == 0
    thread.stop()
