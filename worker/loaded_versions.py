"""The versions that are loaded: each loaded once, held by bindings, gone when nothing needs it."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, field
from types import TracebackType

from sqlalchemy.exc import DBAPIError

from db.errors import LabelstreamError, RegistryError
from db.registry.versions import Version
from worker.encoder import EncodedRows
from worker.engines import NEEDS_NO_MODEL
from worker.engines.protocol import Engine
from worker.microbatch import WaitingRows
from worker.remembered import LogitsMemory, VersionMemory

log = logging.getLogger(__name__)

#: Name of a version among the loaded ones.
VersionKey = tuple[str, int]

#: Seconds for which a version that was bound by its number stays, though no alias points to it:
#: between two chunks of a job nothing holds it.
PINNED_SECONDS = 60.0

#: Seconds between two looks, while a version loads, at whether its waiters are to leave.
_LOOK_SECONDS = 0.2


@dataclass
class Loaded:
    """A loaded version, and the rows that wait for it."""

    version: Version
    engine: Engine
    #: What its engine has computed, as far as it is remembered.
    memory: VersionMemory
    bound: int = 0
    waiting: WaitingRows = field(default_factory=WaitingRows)
    #: When it was bound last; a version that was loaded ahead counts as bound then.
    used_at: float = field(default_factory=time.monotonic)
    #: Until when a job that names it by its number keeps it.
    pinned_until: float = 0.0
    #: Another version has taken its place.
    superseded: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing holds it and no row waits for it."""
        return not self.bound and not len(self.waiting)

    @property
    def shares_rows(self) -> bool:
        """Whether equal rows are computed once; engines of tests and benchmarks compute each."""
        return self.engine.name not in NEEDS_NO_MODEL


class Binding:
    """A hold on a loaded version: while it lasts, the version is not evicted.

    Used as a context manager; everything submitted under it runs on this version and engine.
    """

    def __init__(self, owner: "LoadedVersions", version: Version, engine: Engine) -> None:
        self._owner = owner
        self._encoder = engine.encoder
        #: Which loaded version this holds.
        self.key = key_of(version)
        #: As the registry knew it when this was bound: what is derived from it may have changed
        #: since it was loaded.
        self.version = version
        self.engine_name = engine.name
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
    """The loaded versions of a process's engine threads, under their lock; at most `limit`, if they are idle."""

    def __init__(
        self,
        load: Callable[[Version], Engine],
        lock: threading.Condition,
        limit: int,
        memory: LogitsMemory,
    ) -> None:
        self._load = load
        self._lock = lock
        self._limit = limit
        self._memory = memory
        self._loaded: dict[VersionKey, Loaded] = {}
        self._loading: dict[VersionKey, Future[Engine]] = {}
        self._leaving = threading.Event()

    def load(self, version: Version) -> "Future[Engine]":
        """Begin to load `version` unless that is done or under way; the future ends with it."""
        key = key_of(version)
        with self._lock:
            loaded = self._loaded.get(key)
            if loaded is not None:
                done: Future[Engine] = Future()
                done.set_result(loaded.engine)
                return done
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
            return future

    def bind(self, version: Version, *, pinned: bool = False) -> Binding:
        """Hold `version`, loading it first if need be; raises whatever `load` raises.

        `pinned`: it was asked for by its number, and stays a while for whoever asks again. Raises
        `CancelledError` instead of waiting on when `leave` was called.
        """
        while True:
            loading = self.load(version)
            while not wait([loading], timeout=_LOOK_SECONDS).done:
                if self._leaving.is_set():
                    raise CancelledError
            loading.result()
            binding = self.bind_loaded(version, pinned=pinned)
            # Many others were bound meanwhile, and this one has left again.
            if binding is not None:
                return binding

    def leave(self) -> None:
        """Let nobody wait for a load any more."""
        self._leaving.set()

    def bind_loaded(self, version: Version, *, pinned: bool = False) -> Binding | None:
        """Hold `version` if it is loaded; None, at once, if it is not."""
        with self._lock:
            loaded = self._loaded.get(key_of(version))
            if loaded is None:
                return None
            loaded.bound += 1
            loaded.used_at = time.monotonic()
            if pinned:
                loaded.pinned_until = loaded.used_at + PINNED_SECONDS
            self.evict()
            return Binding(self, version, loaded.engine)

    def release(self, binding: Binding) -> None:
        """Let a binding go; a version that is not needed any more leaves the memory."""
        with self._lock:
            if not binding.released:
                binding.released = True
                self._loaded[binding.key].bound -= 1
                self.evict()

    def supersede(self, key: VersionKey, by: VersionKey) -> None:
        """Let a version leave as soon as nothing holds it: another one serves in its place."""
        with self._lock:
            for name, superseded in ((key, True), (by, False)):
                if name in self._loaded:
                    self._loaded[name].superseded = superseded
            self.evict()

    def evict(self) -> None:
        """Forget idle versions: those that were superseded, and the least recently used of many."""
        now = time.monotonic()
        idle = [key for key, loaded in self._loaded.items() if loaded.idle]
        leaving = [
            key
            for key in idle
            if self._loaded[key].superseded and self._loaded[key].pinned_until < now
        ]
        left = [key for key in idle if key not in leaving]
        too_many = len(self._loaded) - len(leaving) - self._limit
        if too_many > 0:
            leaving += sorted(left, key=lambda key: self._loaded[key].used_at)[:too_many]
        for key in leaving:
            log.info("model %s leaves the memory", self._loaded[key].version)
            self._loaded.pop(key).memory.forget()

    def get(self, key: VersionKey) -> Loaded | None:
        """Return the loaded version of that name; None if it has left."""
        return self._loaded.get(key)

    def oldest_waiting(self) -> Loaded | None:
        """Return the version whose oldest row has waited longest; None if no row waits."""
        waiting = [each for each in self._loaded.values() if len(each.waiting)]
        return min(waiting, key=lambda each: each.waiting.oldest_at, default=None)

    def newest_first(self) -> list[Loaded]:
        """Return what is loaded, the version that was bound last before the others."""
        return sorted(self._loaded.values(), key=lambda each: -each.used_at)

    def _load_into(self, version: Version, future: "Future[Engine]") -> None:
        key = key_of(version)
        try:
            engine = self._load(version)
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            with self._lock:
                self._loading.pop(key, None)
            future.set_exception(_told(version, error))
            return
        with self._lock:
            self._loaded[key] = Loaded(version, engine, self._memory.of_version())
            self._loading.pop(key, None)
        future.set_result(engine)


def _told(version: Version, error: BaseException) -> BaseException:
    """Return what those who wait for a load are told: of a foreign error only the kind.

    What the database says stays as it is: that is not the version's fault.
    """
    if isinstance(error, LabelstreamError | DBAPIError | CancelledError):
        return error
    log.debug("model %s could not be loaded", version, exc_info=error)
    return RegistryError(f"model {version} could not be loaded ({type(error).__name__})")


def key_of(version: Version) -> VersionKey:
    """Return the name of `version` among the loaded ones."""
    return version.model, version.version
