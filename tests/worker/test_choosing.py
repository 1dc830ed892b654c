"""The live swap: who serves while a promoted version loads, and when it does not load at all."""

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from db.defaults import ALIAS_FORGOTTEN_SECONDS
from db.errors import RegistryError, ServiceUnavailable
from db.registry.aliases import promote, rollback
from db.registry.events import list_events
from db.registry.names import ModelRef
from db.registry.versions import Version, add_version, resolve, set_temperature, set_unsure_below
from db.store import Store
from tests.cluster import wait_until
from tests.db.models import new_version
from tests.worker.made_engines import LABELS, MadeEngine
from worker.choosing import VersionChooser, VersionWatcher
from worker.engine_threads import EngineThreads
from worker.refusals import Refusals


class Loads:
    """Loads made engines; versions may be damaged, or be held until they are let go."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.damaged: dict[int, Exception] = {}
        self.gates: dict[int, threading.Event] = {}
        self.engines: dict[int, weakref.ref[MadeEngine]] = {}

    def __call__(self, wanted: Version) -> MadeEngine:
        self.asked.append(wanted.version)
        if wanted.version in self.gates:
            assert self.gates[wanted.version].wait(60)
        if wanted.version in self.damaged:
            # Every load fails by an error of its own.
            raise type(self.damaged[wanted.version])(*self.damaged[wanted.version].args)
        engine = MadeEngine()
        self.engines[wanted.version] = weakref.ref(engine)
        return engine


class Serving:
    """What a worker process is made of, as far as versions go."""

    def __init__(self, store: Store, loads: Loads, pause: float = 60.0) -> None:
        self.engine = EngineThreads(loads, limit=None, warm_up=["warm"])
        self.engine.start()
        refusals = Refusals(store, "worker-1", pause)
        self.chooser = VersionChooser(store, self.engine, refusals, fresh_seconds=0)

    def number(self, reference: str = "emotion") -> int:
        with self.chooser.bind(reference) as binding:
            return binding.version.version

    def loaded(self) -> set[int]:
        return {version.version for version in self.engine.loaded()}


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def make(store: Store, loads: Loads) -> Iterator[Callable[..., Serving]]:
    """Make a worker's versions on a store with emotion:1 to 4, the first one in production."""
    for number in range(1, 5):
        alias = "production" if number == 1 else None
        add_version(store, new_version(labels=tuple(LABELS)), who="me", alias=alias)
    made: list[Serving] = []

    def serving(pause: float = 60.0) -> Serving:
        made.append(Serving(store, loads, pause))
        return made[-1]

    yield serving
    for gate in loads.gates.values():
        gate.set()
    for each in made:
        each.engine.stop()


def refusals(store: Store) -> list[tuple[int | None, str, str | None]]:
    events = list_events(store, "emotion")
    return [(each.version, each.who, each.why) for each in events if each.event == "refused"]


def test_the_old_version_serves_until_the_new_one_is_loaded_and_then_leaves(
    store: Store, make: Callable[..., Serving], loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    serving = make()
    assert serving.number() == 1
    loads.gates[2] = threading.Event()
    promote(store, "emotion", 2, who="me", why=None)
    # Many ask, none waits, and one load is begun.
    assert [serving.number() for _ in range(20)] == [1] * 20
    wait_until(lambda: loads.asked == [1, 2], 30, "the new version is being loaded")
    held = serving.chooser.bind("emotion")
    loads.gates[2].set()
    wait_until(lambda: serving.number() == 2, 30, "the new version serves")
    assert serving.loaded() == {1, 2}, "what has begun on the old version ends on it"
    future = serving.engine.submit(held, held.encode(["text"]))
    assert future.result(30).rejected == {}
    held.release()
    assert serving.loaded() == {2}
    gc.collect()
    assert loads.engines[1]() is None, "its memory is free"
    assert loads.asked == [1, 2]
    assert "emotion@production: version 2 serves now, after 1" in caplog.text


def test_a_rollback_is_a_swap_like_any_other(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    serving = make()
    assert serving.number() == 1
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 2, 30, "the promoted version serves")
    rollback(store, "emotion", who="me", why=None)
    wait_until(lambda: serving.number() == 1, 30, "the old version serves again")
    assert loads.asked == [1, 2, 1]


def test_an_idle_worker_notices_a_promotion_by_itself(
    store: Store, make: Callable[..., Serving]
) -> None:
    serving = make()
    serving.chooser.begin("emotion")
    watcher = VersionWatcher(serving.chooser, seconds=0.05)
    watcher.start()
    try:
        promote(store, "emotion", 2, who="me", why=None)
        wait_until(lambda: serving.loaded() == {2}, 30, "only the new version is loaded")
    finally:
        watcher.stop()


def test_an_alias_that_nobody_asks_for_is_forgotten_but_not_the_workers_own(
    store: Store, make: Callable[..., Serving], loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = make()
    for alias in ("beta", "gamma"):
        promote(store, "emotion", 1, who="me", why=None, alias=alias)
    serving.chooser.begin("emotion@beta")
    assert serving.number("emotion@gamma") == 1
    later = time.monotonic() + ALIAS_FORGOTTEN_SECONDS + 1
    monkeypatch.setattr("worker.choosing.time.monotonic", lambda: later)
    promote(store, "emotion", 2, who="me", why=None, alias="gamma")
    promote(store, "emotion", 3, who="me", why=None, alias="beta")
    serving.chooser.watch()
    wait_until(lambda: 3 in serving.loaded(), 30, "the worker's own alias is watched")
    assert loads.asked == [1, 3]


def test_a_version_that_does_not_load_is_refused_once_and_the_old_one_serves_on(
    store: Store, make: Callable[..., Serving], loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    serving = make(pause=0.01)
    assert serving.number() == 1
    loads.damaged[2] = RegistryError("adapter.safetensors is damaged")
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 1 and loads.asked.count(2) >= 3, 30, "it is tried again")
    assert refusals(store) == [(2, "worker-1", "adapter.safetensors is damaged")]
    assert caplog.text.count("emotion:2 was refused: adapter.safetensors is damaged") == 1
    loads.damaged[2] = ValueError("a text of somebody's")
    wait_until(
        lambda: serving.number() == 1 and len(refusals(store)) == 2, 30, "another reason is told"
    )
    assert refusals(store)[1][2] == "model emotion:2 could not be loaded (ValueError)"
    # What was mended serves without anybody's doing.
    del loads.damaged[2]
    wait_until(lambda: serving.number() == 2, 30, "the mended version serves")


def test_a_refused_version_is_left_alone_for_a_while(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    serving = make(pause=60.0)
    assert serving.number() == 1
    loads.damaged[2] = RegistryError("damaged")
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 1 and refusals(store), 30, "it is refused")
    for _ in range(20):
        assert serving.number() == 1
        serving.chooser.watch()
    assert loads.asked == [1, 2]
    # Another promotion is not held up by it.
    promote(store, "emotion", 3, who="me", why=None)
    wait_until(lambda: serving.number() == 3, 30, "the next promotion serves")


def test_a_worker_that_starts_walks_the_promotions_back_to_one_that_loads(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    for number in (2, 3, 4):
        promote(store, "emotion", number, who="me", why=None)
    loads.damaged = {number: RegistryError(f"damaged {number}") for number in (3, 4)}
    serving = make()
    serving.chooser.begin("emotion")
    assert serving.loaded() == {2}
    assert loads.asked == [4, 3, 2]
    assert [(number, why) for number, _, why in refusals(store)] == [
        (4, "damaged 4"),
        (3, "damaged 3"),
    ]
    assert serving.number() == 2
    # A version that was never promoted is not taken.
    loads.damaged |= {number: RegistryError(f"damaged {number}") for number in (1, 2)}
    with pytest.raises(RegistryError, match="damaged 4"):
        make().chooser.begin("emotion")


def test_a_job_that_names_a_version_keeps_it_through_promotions(
    store: Store, make: Callable[..., Serving]
) -> None:
    serving = make()
    assert (serving.number("emotion:1"), serving.number()) == (1, 1)
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 2, 30, "the new version serves the alias")
    assert [serving.number("emotion:1") for _ in range(3)] == [1, 1, 1]
    assert serving.loaded() == {1, 2}


def test_a_named_version_that_does_not_load_is_refused_and_others_are_not_taken(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    serving = make()
    loads.damaged[2] = RegistryError("damaged")
    for _ in range(2):
        with pytest.raises(RegistryError, match="damaged"):
            serving.number("emotion:2")
    assert loads.asked == [2, 2], "a job's own tries are counted by the job"
    assert refusals(store) == [(2, "worker-1", "damaged")]


def test_a_database_that_is_away_is_no_fault_of_the_version(
    store: Store,
    make: Callable[..., Serving],
    loads: Loads,
    caplog: pytest.LogCaptureFixture,
) -> None:
    serving = make()
    assert serving.number() == 1
    loads.damaged[2] = ServiceUnavailable("the database is gone")
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 1 and loads.asked.count(2) > 1, 30, "it is tried again")
    assert refusals(store) == []
    assert "model emotion:2 could not be loaded yet: the database is gone" in caplog.messages
    with pytest.raises(ServiceUnavailable):
        make().number()


def test_calibration_is_that_of_the_registry_now_not_of_the_load(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    serving = make()
    assert serving.number() == 1
    version = resolve(store, ModelRef("emotion", None, 1))
    set_temperature(store, version, "made", 2.0, who="me")
    set_unsure_below(store, version, 0.7, who="me")
    with serving.chooser.bind("emotion") as binding:
        assert (binding.version.temperature, binding.version.unsure_below) == ({"made": 2.0}, 0.7)
    assert loads.asked == [1]


def test_two_models_are_served_side_by_side(
    store: Store, make: Callable[..., Serving], loads: Loads
) -> None:
    add_version(store, new_version("topics", labels=tuple(LABELS)), who="me", alias="production")
    serving = make()
    assert serving.number() == 1
    with serving.chooser.bind("topics") as binding, serving.chooser.bind("emotion") as other:
        assert (str(binding.version), str(other.version)) == ("topics:1", "emotion:1")
    assert len(serving.engine.loaded()) == 2
    promote(store, "emotion", 2, who="me", why=None)
    wait_until(lambda: serving.number() == 2, 30, "one of them changes over")
    assert {str(each) for each in serving.engine.loaded()} == {"emotion:2", "topics:1"}


def test_what_an_alias_names_is_asked_anew_after_a_moment_and_not_for_each_chunk(
    store: Store, make: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = make()
    monkeypatch.setattr(serving.chooser, "_fresh_seconds", 3600.0)
    assert serving.number() == 1
    promote(store, "emotion", 2, who="me", why=None)
    serving.engine.load(resolve(store, ModelRef("emotion", None, 2))).result(60)
    assert serving.number() == 1, "it was asked a moment ago"
    assert serving.number("emotion:2") == 2, "another reference is asked for itself"
    monkeypatch.setattr(serving.chooser, "_fresh_seconds", 0.0)
    assert serving.number() == 2
