"""Engines that do on purpose what real ones do by misfortune."""

import threading
from collections.abc import Callable

import numpy as np

from db.defaults import MICRO_BATCH_TOKENS
from db.registry.versions import Version
from worker.engines.protocol import Ids, Logits
from worker.engines.text_hash import BytesEncoder

LABELS = "abc"


class MadeEngine:
    """Says of each row its length and its first byte; `before` may look at the texts, or raise."""

    name = "made"
    device = "cpu"
    padding_id = 0
    micro_batch_tokens = MICRO_BATCH_TOKENS

    def __init__(
        self, before: Callable[[list[str]], None] = lambda _: None, at_once: int = 1
    ) -> None:
        self.at_once = at_once
        self.encoder = BytesEncoder()
        self.calls: list[list[str]] = []
        self.before = before

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        lengths = attention_mask.sum(axis=1)
        texts = [
            ids[:length].astype(np.uint8).tobytes().decode()
            for ids, length in zip(input_ids, lengths, strict=True)
        ]
        self.calls.append(texts)
        self.before(texts)
        found = np.zeros((len(texts), len(LABELS)), np.float32)
        found[:, 0] = lengths
        found[:, 1] = np.where(lengths, input_ids[:, 0], 0)
        found[["nan" in text for text in texts], 2] = np.nan
        return found


def expected(texts: list[str]) -> list[list[float]]:
    """Return what a `MadeEngine` says of texts."""
    return [[float(len(text)), float(ord(text[0])) if text else 0.0, 0.0] for text in texts]


class Held:
    """Holds a `MadeEngine` inside its first call until it is let go."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _: list[str]) -> None:
        self.inside.set()
        assert self.go_on.wait(30)


class Meeting:
    """Lets calls of a `MadeEngine` go on when as many are inside as the barrier wants."""

    def __init__(self, together: threading.Barrier) -> None:
        self._together = together

    def __call__(self, _: list[str]) -> None:
        self._together.wait(10)


def serving(engine: MadeEngine) -> Callable[[Version], MadeEngine]:
    """Return a loader that gives `engine` for every version."""
    return lambda _: engine
