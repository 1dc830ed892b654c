"""The first calls of an engine, before any row waits for it."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from db.errors import RegistryError
from db.registry.versions import Version
from worker.computing import Computed, compute
from worker.engines.protocol import Engine


def warm(
    engine: Engine,
    version: Version,
    texts: Sequence[str],
    around: Callable[[], AbstractContextManager[None]],
) -> None:
    """Let `engine` compute `texts`, as many times side by side as it computes at once.

    `around` stands around each call. Raises `RegistryError` if it cannot compute them.
    """
    rows = engine.encoder.encode(list(texts))
    labels = len(version.labels)
    for found in _side_by_side(lambda: compute(engine, rows, labels, around), engine.at_once):
        if found.rejected:
            reason = next(iter(found.rejected.values()))
            raise RegistryError(f"model {version} cannot compute: {reason}")


def _side_by_side(call: Callable[[], Computed], times: int) -> list[Computed]:
    """Return what several calls at once return; at the end of the process nobody waits for them."""
    found: list[Computed] = []
    threads = [
        threading.Thread(target=lambda: found.append(call()), name="warm-up", daemon=True)
        for _ in range(times - 1)
    ]
    for thread in threads:
        thread.start()
    found.append(call())
    for thread in threads:
        thread.join()
    return found
