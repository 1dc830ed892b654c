"""Promote and rollback against the simplest model of them: a list."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import RegistryError
from db.migrate import upgrade
from db.registry.aliases import list_aliases, promote, promotions, rollback, rollback_target
from db.registry.events import list_events
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store, open_store
from tests.db.at_once import at_once
from tests.db.ledger_parts import change
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


def promoted_in_turn(store: Store, versions: int) -> None:
    for number in range(1, versions + 1):
        add_version(store, new_version(), who="me")
        promote(store, "emotion", number, who="me", why=None)


def test_of_rollbacks_at_once_that_were_confirmed_alike_one_moves_and_the_others_are_told(
    store: Store,
) -> None:
    promoted_in_turn(store, 3)
    ended = at_once(
        [lambda: rollback(store, "emotion", who="me", why=None, instead_of=3, to=2)] * 4
    )
    assert ended.count((3, 2)) == 1
    refused = [one for one in ended if isinstance(one, RegistryError)]
    assert len(refused) == 3
    assert all("points to version 2 by now, not to 3" in str(one) for one in refused)
    assert list_aliases(store) == {("emotion", "production"): 2}
    assert [event.event for event in list_events(store, "emotion")].count("rolled back") == 1


def test_a_rollback_beside_a_promotion_goes_to_its_target_or_nowhere(store: Store) -> None:
    promoted_in_turn(store, 3)
    back, forward = at_once(
        [
            lambda: rollback(store, "emotion", who="me", why=None, instead_of=3, to=2),
            lambda: promote(store, "emotion", 1, who="me", why=None, instead_of=3),
        ]
    )
    if back == (3, 2):
        assert isinstance(forward, RegistryError)
        assert list_aliases(store) == {("emotion", "production"): 2}
    else:
        assert isinstance(back, RegistryError)
        assert forward is True
        assert list_aliases(store) == {("emotion", "production"): 1}


def test_a_rollback_that_would_go_elsewhere_than_confirmed_moves_nothing(store: Store) -> None:
    promoted_in_turn(store, 3)
    change(store, "UPDATE model_versions SET state = 'pruned' WHERE version = 2")
    before = list_events(store, "emotion")
    with pytest.raises(RegistryError, match="go back from version 3 to 1 by now, not to 2"):
        rollback(store, "emotion", who="me", why=None, instead_of=3, to=2)
    with pytest.raises(RegistryError, match="points to version 3 by now, not to none"):
        rollback(store, "emotion", who="me", why=None, instead_of=0)
    assert list_events(store, "emotion") == before
    assert rollback(store, "emotion", who="me", why=None, instead_of=3, to=1) == (3, 1)


def test_what_a_rollback_would_go_to_is_told_before(store: Store) -> None:
    assert rollback_target(store, "emotion") is None
    promoted_in_turn(store, 3)
    assert rollback_target(store, "emotion") == 2
    # Also where the files of what serves are gone.
    change(store, "UPDATE model_versions SET state = 'pruned' WHERE version = 3")
    assert rollback_target(store, "emotion") == 2
    assert rollback(store, "emotion", who="me", why=None, to=2) == (3, 2)
    change(store, "UPDATE model_versions SET state = 'pruned' WHERE version = 1")
    assert rollback_target(store, "emotion") is None


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
