"""The versions that are loaded: each loaded once, held by bindings, gone when nothing needs it."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType

from db.registry.versions import Version
from worker.encoder import EncodedRows
from worker.engines.protocol import Engine
from worker.microbatch import WaitingRows

log = logging.getLogger(__name__)

#: Name of a version among the loaded ones.
VersionKey = tuple[str, int]


@dataclass
class Loaded:
    """A loaded version, and the rows that wait for it."""

    version: Version
    engine: Engine
    bound: int = 0
    waiting: WaitingRows = field(default_factory=WaitingRows)


class Binding:
    """A hold on a loaded version: while it lasts, the version is not evicted.

    Used as a context manager; everything submitted under it runs on this version and engine.
    """

    def __init__(self, owner: "LoadedVersions", key: VersionKey, loaded: Loaded) -> None:
        self._owner = owner
        self._encoder = loaded.engine.encoder
        #: Which loaded version this holds.
        self.key = key
        self.version = loaded.version
        self.engine_name = loaded.engine.name
        self.released = False

    def encode(self, texts: list[str]) -> EncodedRows:
        """Tokenise `texts` for this version, in the calling thread."""
        return self._encoder.encode(texts)

    def release(self) -> None:
        """Let go of the version; a second time means nothing."""
        self._owner.release(self)

    def __enter__(self) -> "Binding":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class LoadedVersions:
    """The loaded versions of one engine thread, under its lock."""

    def __init__(self, load: Callable[[Version], Engine], lock: threading.Condition) -> None:
        self._load = load
        self._lock = lock
        self._loaded: dict[VersionKey, Loaded] = {}
        self._loading: dict[VersionKey, Future[Engine]] = {}
        self._newest: VersionKey | None = None

    def bind(self, version: Version) -> Binding:
        """Hold `version`, loading it first if need be; raises whatever `load` raises."""
        key = (version.model, version.version)
        with self._lock:
            loaded = self._loaded.get(key)
            if loaded is not None:
                return self._bound(key, loaded)
            future = self._loading.get(key)
            if future is None:
                future = self._loading[key] = Future()
                # A daemon: a process that is asked to leave does not wait for a load.
                threading.Thread(
                    target=self._load_into,
                    args=(version, future),
                    name=f"load {version}",
                    daemon=True,
                ).start()
        engine = future.result()
        with self._lock:
            self._loading.pop(key, None)
            return self._bound(key, self._loaded.setdefault(key, Loaded(version, engine)))

    def release(self, binding: Binding) -> None:
        """Let a binding go; an old version that nothing holds any more leaves the memory."""
        with self._lock:
            if not binding.released:
                binding.released = True
                self._loaded[binding.key].bound -= 1
                self.evict()

    def evict(self) -> None:
        """Forget what is neither bound, nor waited for, nor the version that was bound last."""
        idle = [
            key
            for key, loaded in self._loaded.items()
            if not loaded.bound and not len(loaded.waiting) and key != self._newest
        ]
        for key in idle:
            log.info("model %s leaves the memory", self._loaded[key].version)
            del self._loaded[key]

    def get(self, key: VersionKey) -> Loaded | None:
        """Return the loaded version of that name; None if it has left."""
        return self._loaded.get(key)

    def oldest_waiting(self) -> Loaded | None:
        """Return the version whose oldest row has waited longest; None if no row waits."""
        waiting = [each for each in self._loaded.values() if len(each.waiting)]
        return min(waiting, key=lambda each: each.waiting.oldest_at, default=None)

    def newest_first(self) -> list[Loaded]:
        """Return what is loaded, the version that was bound last before the others."""
        order = sorted(self._loaded, key=lambda key: key != self._newest)
        return [self._loaded[key] for key in order]

    def _load_into(self, version: Version, future: "Future[Engine]") -> None:
        try:
            future.set_result(self._load(version))
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            with self._lock:
                self._loading.pop((version.model, version.version), None)
            future.set_exception(error)

    def _bound(self, key: VersionKey, loaded: Loaded) -> Binding:
        loaded.bound += 1
        self._newest = key
        self.evict()
        return Binding(self, key, loaded)
