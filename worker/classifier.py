"""The classifier for Python: the worker's own model, engine and packing, in one call."""

import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from db.errors import LabelstreamError
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings, get_settings
from db.store import open_store
from worker.engine_threads import ChunkLogits, EngineThreads
from worker.engines import Engine
from worker.predictions import probabilities
from worker.preparing import make_ready
from worker.serving import Loader
from worker.warming import warm

#: Texts that are tokenised and queued at once; the next ones are tokenised while these run.
_TEXTS_AT_ONCE = 4096

#: Such portions that may wait: what bounds the memory, however many texts there are.
_PORTIONS_WAITING = 2


class Classifier:
    """A loaded version that labels texts, in the shape of `transformers.pipeline`.

    May be called from many threads at once. It leaves the memory when it is closed, or forgotten.
    Of equal texts among 4,096 of a call one is computed; unlike a worker, it remembers none from one
    call to the next, so that whoever measures it measures the engine.
    """

    def __init__(self, version: Version, engine: Engine) -> None:
        self.version = version
        self.labels = version.labels
        self.engine = engine.name
        self.device = engine.device
        # What it cannot compute is no reason to refuse it, as a worker would: who asks for logits is
        # told which texts have none, and a model that is tried out is refused for that.
        warm(engine, len(version.labels))
        # No limit on a micro-batch: it is not for us to end the process of whoever calls.
        self._threads = EngineThreads(lambda _: engine, limit=None)
        self._threads.start()
        self._binding = self._threads.bind(version)
        self._stop = weakref.finalize(self, self._threads.stop)

    @classmethod
    def load(
        cls,
        model: str = "emotion@production",
        *,
        device: str | None = None,
        engine: str | None = None,
        settings: Settings | None = None,
    ) -> "Classifier":
        """Load `NAME`, `NAME@ALIAS` or `NAME:VERSION` from the registry of the settings.

        The tables of our own SQLite are made or migrated by itself, and the starter model is
        registered. Raises `LabelstreamError` for a model that is not there or cannot be loaded.
        """
        chosen = settings or get_settings()
        asked = {"device": device, "engine": engine}
        chosen = chosen.model_copy(
            update={name: value for name, value in asked.items() if value is not None}
        )
        store = open_store(chosen)
        try:
            make_ready(store, chosen)
            version = resolve(store, parse_ref(model))
            return cls(version, Loader(store, chosen).load(version))
        finally:
            store.close()

    def __call__(self, texts: str | Sequence[str], top_k: int | None = 1) -> list[Any]:
        """Label `texts`.

        With `top_k` 1, one `{"label", "score"}` a text; otherwise a list of the `top_k` best
        (None: all) a text, best first. One text alone gives a list of one, or its list of best.
        Raises `LabelstreamError` naming the place of a text for which the engine failed.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        logits = self.logits(several)
        failed = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if failed.size:
            raise LabelstreamError(
                f"the engine gave no usable logits for {failed.size} of {len(several)} texts, the "
                f"first at index {failed[0]}; leave them out, or see .logits(texts)"
            )
        shares = probabilities(
            logits,
            self.version.temperature_on(self.engine),
            multi_label=self.version.multi_label,
        )
        # By the logits, as the worker does: two of them may differ where their shares do not.
        order = np.argsort(-logits, axis=1, kind="stable")
        found = [
            [{"label": self.labels[index], "score": float(row[index])} for index in best]
            for row, best in zip(shares, order[:, :top_k].tolist(), strict=True)
        ]
        if top_k == 1:
            return [best[0] for best in found]
        return found[0] if isinstance(texts, str) else found

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 [texts, labels], in the order of `texts`; NaN where the engine failed."""
        waiting: deque[Future[ChunkLogits]] = deque()
        parts = [np.zeros((0, len(self.labels)), dtype=np.float32)]
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            rows = self._binding.encode(list(texts[start : start + _TEXTS_AT_ONCE]))
            if len(waiting) == _PORTIONS_WAITING:
                parts.append(_finished(waiting.popleft()))
            waiting.append(self._threads.submit(self._binding, rows))
        parts.extend(_finished(future) for future in waiting)
        return np.concatenate(parts)

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the model reads of each text."""
        lengths: list[int] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            rows = self._binding.encode(list(texts[start : start + _TEXTS_AT_ONCE]))
            lengths += rows.lengths.tolist()
        return lengths

    def close(self) -> None:
        """Let go of the model; the classifier is of no use afterwards."""
        self._binding.release()
        self._stop()

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _finished(future: "Future[ChunkLogits]") -> npt.NDArray[np.float32]:
    chunk = future.result()
    chunk.logits[list(chunk.rejected)] = np.nan
    return chunk.logits
