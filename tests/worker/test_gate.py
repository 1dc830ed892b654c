"""The gate: many together or one alone, under threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.cluster import wait_until
from worker.gate import Gate, GateClosed


def test_whoever_is_alone_has_nobody_beside_it() -> None:
    gate = Gate()
    lock = threading.Lock()
    inside: set[int] = set()
    seen: list[tuple[bool, int]] = []

    def visit(number: int) -> None:
        alone = number % 5 == 0
        with gate.alone() if alone else gate.together():
            with lock:
                inside.add(number)
                seen.append((alone, len(inside)))
            time.sleep(0.001)
            with lock:
                seen.append((alone, len(inside)))
                inside.discard(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(200)))
    assert len(seen) == 400
    assert {count for alone, count in seen if alone} == {1}
    assert max(count for alone, count in seen if not alone) > 1


def test_who_wants_to_be_alone_is_not_kept_waiting_by_newcomers() -> None:
    gate = Gate()
    order: list[str] = []

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    def together() -> None:
        with gate.together():
            order.append("together")

    with gate.together():
        first = threading.Thread(target=alone)
        first.start()
        wait_until(lambda: gate.waiting == 1, 10, "the first waits")
        second = threading.Thread(target=together)
        second.start()
        wait_until(lambda: gate.waiting == 2, 10, "the newcomer waits behind it")
    first.join(10)
    second.join(10)
    assert order == ["alone", "together"]


@pytest.mark.parametrize("way", ["together", "alone"])
def test_an_error_inside_leaves_the_gate_open(way: str) -> None:
    gate = Gate()
    with pytest.raises(ValueError, match="oh"), getattr(gate, way)():
        raise ValueError("oh")
    with gate.alone():
        pass
    with gate.together():
        pass


def test_one_suspect_after_another_does_not_keep_the_others_out() -> None:
    gate = Gate()
    order: list[str] = []

    def visit(name: str) -> None:
        with gate.alone() if name.startswith("suspect") else gate.together():
            order.append(name)

    def waits(count: int) -> bool:
        return gate.waiting == count

    threads = []
    with gate.alone():
        for place, name in enumerate(["suspect 1", "healthy 1", "suspect 2", "healthy 2"], 1):
            threads.append(threading.Thread(target=visit, args=(name,)))
            threads[-1].start()
            wait_until(partial(waits, place), 10, "it waits")
    for thread in threads:
        thread.join(10)
    assert order == ["suspect 1", "healthy 1", "suspect 2", "healthy 2"]


@pytest.mark.parametrize("way", ["together", "alone"])
def test_who_waits_when_the_gate_is_closed_leaves_and_who_is_inside_stays(way: str) -> None:
    gate = Gate()
    left = threading.Event()

    def wait() -> None:
        with pytest.raises(GateClosed), getattr(gate, way)():
            raise AssertionError("it was let in")
        left.set()

    with gate.alone():
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: gate.waiting == 1, 10, "it waits")
        gate.close()
        assert left.wait(10)
    waiting.join(10)
    assert gate.waiting == 0
    with pytest.raises(GateClosed), getattr(gate, way)():
        raise AssertionError("it was let in")
