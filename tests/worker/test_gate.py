"""The gate: many together or one alone, under threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster import wait_until
from worker.gate import Gate


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
        wait_until(lambda: gate._waiting_alone, 10, "the first waits")
        second = threading.Thread(target=together)
        second.start()
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
