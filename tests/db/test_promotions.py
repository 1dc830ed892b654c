"""Promote and rollback against the simplest model of them: a list."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import RegistryError
from db.migrate import upgrade
from db.registry.aliases import list_aliases, promote, promotions, rollback
from db.registry.events import list_events
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store, open_store
from tests.db.at_once import at_once
from tests.db.models import new_version

VERSIONS = 4


def test_a_rollback_walks_back_one_promotion_at_a_time(store: Store) -> None:
    for _ in range(3):
        add_version(store, new_version(), who="me")
    for number in (1, 2, 3):
        assert promote(store, "emotion", number, who="me", why=None)
    assert rollback(store, "emotion", who="me", why="worse") == (3, 2)
    assert rollback(store, "emotion", who="me", why=None) == (2, 1)
    with pytest.raises(RegistryError, match="no usable version was promoted before it"):
        rollback(store, "emotion", who="me", why=None)
    assert list_aliases(store) == {("emotion", "production"): 1}
    assert [event.event for event in list_events(store, "emotion")][-2:] == ["rolled back"] * 2


def test_what_is_promoted_after_a_rollback_lies_on_what_was_gone_back_to(store: Store) -> None:
    for _ in range(3):
        add_version(store, new_version(), who="me")
    for number in (1, 2):
        promote(store, "emotion", number, who="me", why=None)
    rollback(store, "emotion", who="me", why=None)
    promote(store, "emotion", 3, who="me", why=None)
    assert promotions(store, "emotion") == [3, 1]
    assert rollback(store, "emotion", who="me", why=None) == (3, 1)


def test_a_promotion_of_what_is_there_already_changes_nothing(store: Store) -> None:
    add_version(store, new_version(), who="me", alias="production")
    before = list_events(store, "emotion")
    assert not promote(store, "emotion", 1, who="me", why=None)
    assert list_events(store, "emotion") == before


def test_every_alias_has_a_stack_of_its_own(store: Store) -> None:
    for _ in range(2):
        add_version(store, new_version(), who="me")
    promote(store, "emotion", 1, who="me", why=None)
    promote(store, "emotion", 2, who="me", why=None, alias="beta")
    promote(store, "emotion", 1, who="me", why=None, alias="beta")
    assert rollback(store, "emotion", who="me", why=None, alias="beta") == (1, 2)
    assert list_aliases(store) == {("emotion", "production"): 1, ("emotion", "beta"): 2}
    with pytest.raises(RegistryError, match="there is no model emotion@gamma"):
        rollback(store, "emotion", who="me", why=None, alias="gamma")


def test_rollbacks_at_once_each_go_back_one(store: Store) -> None:
    for number in range(1, 6):
        add_version(store, new_version(), who="me")
        promote(store, "emotion", number, who="me", why=None)
    back = at_once([lambda: rollback(store, "emotion", who="me", why=None)] * 4)
    assert sorted(back) == [(2, 1), (3, 2), (4, 3), (5, 4)]


@given(st.lists(st.integers(0, VERSIONS), max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_ends_where_a_list_would(moves: list[int]) -> None:
    """A number is a promotion of that version, 0 is a rollback."""
    with (
        TemporaryDirectory() as folder,
        closing(open_store(Settings(_env_file=None, home_dir=Path(folder)))) as store,
    ):
        upgrade(store)
        for _ in range(VERSIONS):
            add_version(store, new_version(), who="me")
        stack: list[int] = []
        for move in moves:
            if move and stack[-1:] != [move]:
                stack.append(move)
                assert promote(store, "emotion", move, who="me", why=None)
            elif move:
                assert not promote(store, "emotion", move, who="me", why=None)
            elif len(stack) > 1:
                before = stack.pop()
                assert rollback(store, "emotion", who="me", why=None) == (before, stack[-1])
            else:
                with pytest.raises(RegistryError):
                    rollback(store, "emotion", who="me", why=None)
            aliases = {("emotion", "production"): stack[-1]} if stack else {}
            assert list_aliases(store) == aliases
            assert promotions(store, "emotion") == list(dict.fromkeys(reversed(stack)))
