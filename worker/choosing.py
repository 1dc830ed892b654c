"""Which loaded version serves a job: the live swap, and what happens when a version will not load."""

import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

from sqlalchemy.exc import DBAPIError

from db.defaults import ALIAS_FORGOTTEN_SECONDS, FRESH_SECONDS, WATCH_SECONDS
from db.errors import LabelstreamError, RegistryError, ServiceUnavailable, one_line
from db.registry.aliases import promotions
from db.registry.names import ModelRef, parse_ref
from db.registry.versions import Version, find_version, resolve
from db.store import Store
from worker.engine_threads import EngineThreads
from worker.loaded_versions import Binding, VersionKey, key_of
from worker.metrics import REFUSALS, SWAPS
from worker.refusals import Refusals

log = logging.getLogger(__name__)

#: Not the model's fault: what is asked again later, without a refusal.
UNAVAILABLE = (ServiceUnavailable, DBAPIError)


class VersionChooser:
    """Binds jobs to versions. While a promoted version loads, the one before it serves."""

    def __init__(
        self,
        store: Store,
        engine: EngineThreads,
        refusals: Refusals,
        *,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._store = store
        self._fresh_seconds = fresh_seconds
        #: What each reference named, and when that was asked.
        self._named_lately: dict[ModelRef, tuple[float, Version]] = {}
        self._engine = engine
        self._refusals = refusals
        self._lock = threading.Lock()
        #: The version that serves each alias, and when it was last asked for.
        self._serving: dict[ModelRef, VersionKey] = {}
        self._asked_at: dict[ModelRef, float] = {}
        #: Versions whose load is waited for by a thread of its own.
        self._awaited: set[VersionKey] = set()

    def bind(self, reference: str) -> Binding:
        """Hold the version that is to label a job which asked for `reference`.

        A job that names a version by its number gets that version. One that names an alias gets
        the version that the alias points to, if that is loaded; until then, or if it cannot be
        loaded, the one that served the alias before; in a process where none did, the newest
        promotion that loads. Raises `RegistryError` where there is nothing to be had.
        """
        asked = parse_ref(reference)
        wanted = self._resolved(asked)
        if asked.version is not None:
            return self._named(wanted)
        with self._lock:
            self._asked_at[asked] = max(time.monotonic(), self._asked_at.get(asked, 0.0))
        return self._bound(asked, wanted) or self._before(asked, wanted) or self._any(asked, wanted)

    def _resolved(self, asked: ModelRef) -> Version:
        """Return what `asked` names, as of a moment ago: chunks come by the hundred a second."""
        at, version = self._named_lately.get(asked, (float("-inf"), None))
        if version is None or time.monotonic() - at >= self._fresh_seconds:
            version = self._store.retrying(lambda: self._asked_now(asked))
        return version

    def _asked_now(self, asked: ModelRef) -> Version:
        now = time.monotonic()
        version = resolve(self._store, asked)
        with self._lock:
            # An answer to who asked earlier may come later.
            if now >= self._named_lately.get(asked, (float("-inf"), version))[0]:
                self._named_lately[asked] = (now, version)
        return version

    def begin(self, reference: str) -> None:
        """Load what is to serve `reference`, and watch it from now on; raises as `bind` does."""
        with self._lock:
            self._asked_at[parse_ref(reference)] = math.inf
        # Bound once and let go: it stays loaded until another version takes its place.
        self.bind(reference).release()

    def watch(self) -> None:
        """Look once whether an alias has moved, and begin to load what it points to now."""
        with self._lock:
            long_ago = time.monotonic() - ALIAS_FORGOTTEN_SECONDS
            aliases = [
                asked for asked, at in self._asked_at.items() if at > long_ago and asked.alias
            ]
        for asked in aliases:
            wanted = self._asked_now(asked)
            binding = self._bound(asked, wanted)
            if binding is None:
                self._load_aside(wanted)
            else:
                binding.release()
        self._engine.evict()

    def _named(self, wanted: Version) -> Binding:
        try:
            binding = self._engine.bind(wanted, pinned=True)
        except UNAVAILABLE:
            raise
        except LabelstreamError as error:
            self._refusals.refuse(wanted, error)
            raise
        self._refusals.forgive(wanted)
        return binding

    def _bound(self, asked: ModelRef, wanted: Version) -> Binding | None:
        binding = self._engine.bind_loaded(wanted)
        if binding is not None:
            self._serve(asked, wanted)
        return binding

    def _before(self, asked: ModelRef, wanted: Version) -> Binding | None:
        """Hold the version that has served the alias so far, while another one is loaded."""
        with self._lock:
            key = self._serving.get(asked)
        if key is None:
            return None
        self._load_aside(wanted)
        number = ModelRef(asked.model, None, key[1])
        # Be it pruned meanwhile: it is loaded, and its row stays.
        before = self._store.retrying(lambda: find_version(self._store, number))
        return self._engine.bind_loaded(before)

    def _any(self, asked: ModelRef, wanted: Version) -> Binding:
        """Hold the newest promotion that loads, waiting for it."""
        last: LabelstreamError | None = None
        for version in self._promoted(asked, wanted):
            pending = self._refusals.pending(version)
            if pending is not None:
                last = last or pending
                continue
            try:
                binding = self._engine.bind(version)
            except UNAVAILABLE:
                raise
            except LabelstreamError as error:
                self._refusals.refuse(version, error)
                last = last or error
                continue
            self._refusals.forgive(version)
            self._serve(asked, version)
            return binding
        raise last or RegistryError(f"model {asked} has no version that could be loaded")

    def _promoted(self, asked: ModelRef, wanted: Version) -> Iterator[Version]:
        yield wanted
        alias = asked.alias
        assert alias is not None, "only an alias has promotions"  # noqa: S101
        stack = self._store.retrying(lambda: promotions(self._store, asked.model, alias))
        for number in stack:
            if number != wanted.version:
                yield resolve(self._store, ModelRef(asked.model, None, number))

    def _serve(self, asked: ModelRef, version: Version) -> None:
        with self._lock:
            before = self._serving.get(asked)
            self._serving[asked] = key_of(version)
            still_serving = before in self._serving.values()
        # What was never counted yet is told as none: a first one would not be seen as one more.
        swaps, _ = SWAPS.labels(asked.model), REFUSALS.labels(asked.model)
        if before is None or before == key_of(version):
            return
        swaps.inc()
        log.info("model %s: version %s serves now, after %s", asked, version.version, before[1])
        if not still_serving:
            self._engine.supersede(before, by=key_of(version))

    def _load_aside(self, version: Version) -> None:
        """Begin to load `version` in the background, unless it was just refused."""
        key = key_of(version)
        if self._refusals.pending(version) is not None:
            return
        with self._lock:
            if key in self._awaited:
                return
            self._awaited.add(key)
        threading.Thread(
            target=self._await_load, args=(version,), name=f"swap {version}", daemon=True
        ).start()

    def _await_load(self, version: Version) -> None:
        try:
            self._engine.load(version).result()
            self._refusals.forgive(version)
        except CancelledError:
            log.debug("model %s is not loaded: this worker leaves", version)
        except UNAVAILABLE as error:
            # A driver's words may hold a row's text.
            why = one_line(error) if isinstance(error, LabelstreamError) else type(error).__name__
            log.warning("model %s could not be loaded yet: %s", version, why)
        except LabelstreamError as error:
            self._refusals.refuse(version, error)
        finally:
            with self._lock:
                self._awaited.discard(key_of(version))


class VersionWatcher:
    """A thread that looks after the aliases, also while no chunk asks for them."""

    def __init__(self, chooser: VersionChooser, seconds: float = WATCH_SECONDS) -> None:
        self._chooser = chooser
        self._seconds = seconds
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="versions", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._leaving.wait(self._seconds):
            try:
                self._chooser.watch()
            except Exception as error:  # noqa: BLE001  (the next look is a second away)
                log.debug("could not look at the aliases: %s", type(error).__name__)
