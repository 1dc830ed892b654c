"""The first calls of an engine, before any row waits for it."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from worker.computing import Computed, compute
from worker.engines.protocol import Engine

#: What a version computes before it serves: a short text and a longer one, so with padding.
WARM_UP_TEXTS = ("warm", "the first rows that a model computes take longer than those after them")


def warm(
    engine: Engine,
    labels: int,
    texts: Sequence[str] = WARM_UP_TEXTS,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> str | None:
    """Let as many threads as `engine` computes at once call it with `texts`, one after the other.

    A thread's first call prepares much in native code, and OpenVINO's were seen to wait for each other for
    ever where two were made at once: see docs/engines.md. `around` stands around each call. Returns why
    a text has no logits; None if each has them. What that means is for the caller to say.
    """
    rows = engine.encoder.encode(list(texts))
    for found in _by_turns(lambda: compute(engine, rows, labels, around), engine.at_once):
        if found.rejected:
            return next(iter(found.rejected.values()))
    return None


def _by_turns(call: Callable[[], Computed], times: int) -> list[Computed]:
    """Return what calls of so many threads return; at the end of the process nobody waits for them."""
    found: list[Computed] = []
    turn, all_called = threading.Lock(), threading.Barrier(times)

    def in_turn() -> None:
        with turn:
            found.append(call())
        # A thread that had ended would leave what it was given in native code to the next.
        all_called.wait()

    threads = [
        threading.Thread(target=in_turn, name="warm-up", daemon=True) for _ in range(times - 1)
    ]
    for thread in threads:
        thread.start()
    in_turn()
    for thread in threads:
        thread.join()
    return found
