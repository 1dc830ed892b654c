"""Versions are numbered without gap or double, aliases point to them, and events tell who did it."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from db.errors import RegistryError, UsageError
from db.registry.aliases import list_aliases, promote, rollback
from db.registry.events import record_event
from db.registry.names import ModelRef, parse_ref
from db.registry.versions import (
    Version,
    add_first_version,
    add_version,
    list_versions,
    resolve,
    set_merged,
)
from db.store import Store
from tests.db.at_once import at_once
from tests.db.ledger_parts import change
from tests.db.models import new_version


def events(store: Store) -> list[Any]:
    with store.read() as connection:
        query = "SELECT event, version, alias, from_version, who, why FROM model_events ORDER BY id"
        return [tuple(row) for row in connection.execute(text(query))]


def first(store: Store, who: str) -> Version | None:
    return add_first_version(store, new_version(), who=who, why="first use", alias="production")


def test_eight_threads_number_their_versions_without_gap_or_double(store: Store) -> None:
    def register(who: str) -> list[int]:
        return [add_version(store, new_version(), who=who).version for _ in range(3)]

    numbers = at_once([partial(register, f"thread {n}") for n in range(8)])
    assert sorted(number for mine in numbers for number in mine) == list(range(1, 25))
    assert [version.version for version in list_versions(store, "emotion")] == list(range(1, 25))


def test_of_eight_processes_that_start_at_once_one_registers_the_starter(store: Store) -> None:
    made = at_once([partial(first, store, f"process {n}") for n in range(8)])
    assert not [one for one in made if isinstance(one, Exception)], made
    assert [str(one) for one in made if one is not None] == ["emotion:1"]
    assert list_aliases(store) == {("emotion", "production"): 1}
    assert [event[0] for event in events(store)] == ["registered", "promoted"]
    assert first(store, "later") is None


def test_a_version_comes_out_as_it_went_in(store: Store) -> None:
    new = new_version(
        temperature={"torch": 1.5},
        unsure_below=0.4,
        metrics={"accuracy": 0.925},
        reference={"labels": [1, 2]},
        license="research",
        libraries={"torch": "2.6"},
    )
    made = add_version(store, new, who="me")
    assert made == resolve(store, ModelRef("emotion", None, 1))
    for name in type(new).__dataclass_fields__:
        assert getattr(made, name) == getattr(new, name), name


def test_an_alias_moves_and_the_events_tell_from_where(store: Store) -> None:
    add_version(store, new_version(), who="me", alias="production")
    add_version(store, new_version(), who="you")
    assert promote(store, "emotion", 2, who="you", why="better")
    record_event(store, "emotion", 2, "refused", who="worker", why="damaged")
    assert rollback(store, "emotion", who="you", why=None) == (2, 1)
    assert resolve(store, parse_ref("emotion")).version == 1
    assert events(store) == [
        ("registered", 1, None, None, "me", None),
        ("promoted", 1, "production", None, "me", None),
        ("registered", 2, None, None, "you", None),
        ("promoted", 2, "production", 1, "you", "better"),
        ("refused", 2, None, None, "worker", "damaged"),
        ("rolled back", 1, "production", 2, "you", None),
    ]


def test_an_alias_set_by_many_at_once_has_a_history_without_a_break(store: Store) -> None:
    for _ in range(8):
        add_version(store, new_version(), who="me")
    moves = [
        partial(promote, store, "emotion", n, who="me", why=None, alias="beta") for n in range(1, 9)
    ]
    assert at_once(moves) == [True] * 8
    history = [event for event in events(store) if event[0] == "promoted"]
    assert history[0][3] is None
    for before, after in pairwise(history):
        assert after[3] == before[1]
    assert list_aliases(store) == {("emotion", "beta"): history[-1][1]}


def test_an_alias_never_points_to_what_is_not_there(store: Store) -> None:
    add_version(store, new_version(), who="me", alias="production")
    with pytest.raises(RegistryError, match=r"there is no model emotion:7; .*emotion:1"):
        promote(store, "emotion", 7, who="me", why=None)
    assert list_aliases(store) == {("emotion", "production"): 1}


def test_of_two_merges_at_once_one_is_recorded(store: Store) -> None:
    version = add_version(store, new_version(), who="me")
    recorded = at_once(
        [partial(set_merged, store, version, f"folder-{n}", {"a": str(n)}) for n in range(4)]
    )
    assert sorted(recorded) == [False, False, False, True]
    now = resolve(store, ModelRef("emotion", None, 1))
    assert now.merged == f"folder-{recorded.index(True)}"
    assert set_merged(store, now, "again", {"a": "9"}) is True


def test_what_cannot_be_resolved_is_told_with_what_there_is(store: Store) -> None:
    with pytest.raises(RegistryError, match="no model emotion@production; the registry is empty"):
        resolve(store, parse_ref("emotion"))
    add_version(store, new_version(), who="me")
    add_version(store, new_version("topics"), who="me")
    with pytest.raises(RegistryError, match=r"emotion:9; there are .*: emotion:1, topics:1"):
        resolve(store, parse_ref("emotion:9"))
    change(store, "UPDATE model_versions SET state = 'pruned' WHERE model = 'topics'")
    with pytest.raises(RegistryError, match="model topics:1 is pruned: its files are gone"):
        resolve(store, parse_ref("topics:1"))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("emotion", ("emotion", "production", None)),
        ("emotion@beta", ("emotion", "beta", None)),
        ("my-model_2.1:12", ("my-model_2.1", None, 12)),
    ],
)
def test_a_reference_is_read(reference: str, expected: tuple[str, str | None, int | None]) -> None:
    assert parse_ref(reference) == ModelRef(*expected)


@pytest.mark.parametrize("wrong", ["", "a b", "../x", "a:0", "a:b", "a@", "a@b:1", ":1", "a" * 101])
def test_what_is_no_reference_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="write NAME, NAME@ALIAS or NAME:VERSION"):
        parse_ref(wrong)


def test_a_model_needs_a_name_that_can_be_written(store: Store) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model"):
        add_version(store, new_version("../emotion"), who="me")
    assert list_versions(store) == []
