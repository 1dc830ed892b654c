"""The gate: each rule alone can keep a candidate out; what was compared is what is replaced."""

import pytest

from db.registry.aliases import list_aliases, promote
from db.registry.events import list_events
from db.registry.versions import Version, add_version
from db.store import Store
from tests.db.models import new_version
from tests.training.made_evaluations import Rows, comparison
from tests.worker.versions import version
from training.comparison import Comparison
from training.gate import Gate, better
from training.measuring import Measured

#: 100 rows of each of three labels, of which a champion has some wrong.
CHAMPION = [
    *((80, "a", "a"), (20, "a", "b")),
    *((80, "b", "b"), (20, "b", "c")),
    *((80, "c", "c"), (20, "c", "a")),
]


def against(*after: tuple[int, str, str]) -> Comparison:
    """Compare `CHAMPION` with a candidate that says something else of its rows."""
    return comparison("abc", CHAMPION, after)


def measured(compared: Comparison | None, not_compared: str | None = None) -> Measured:
    given = compared or against(*CHAMPION)
    return Measured(1.0, given.after, given.after, {}, compared, not_compared)


def test_what_is_better_at_everything_passes_with_its_figures_as_the_reason() -> None:
    compared = comparison(
        "ab",
        [(45, "a", "a"), (5, "a", "b"), (45, "b", "b"), (5, "b", "a")],
        [(45, "a", "a"), (5, "a", "a"), (45, "b", "b"), (5, "b", "b")],
    )
    decision = better(compared)
    assert decision.promoted
    # Ten rows that the candidate alone has right: p = 2 / 2^10.
    assert decision.reason == (
        "macro-F1 1.0000 against 0.9000 of mood:1, McNemar's p 0.0020, "
        "no label's F1 falls by more than 0.03"
    )


def test_what_is_only_as_good_does_not_pass() -> None:
    decision = better(against(*CHAMPION))
    assert not decision.promoted
    assert decision.reason == "its macro-F1 of 0.8000 is not above the 0.8000 of mood:1"


def test_the_same_f1s_of_other_labels_are_no_higher_for_what_a_float_rounds() -> None:
    def mixed_up(a: int, b: int, c: int) -> list[Rows]:
        """A hundred rows a label, of which so many are taken for the next one."""
        pairs = ((a, "a", "b"), (b, "b", "c"), (c, "c", "a"))
        return [
            each
            for wrong, true, said in pairs
            for each in ((100 - wrong, true, true), (wrong, true, said))
        ]

    compared = comparison("abc", mixed_up(3, 2, 1), mixed_up(1, 3, 2))
    f1s = [sorted(pair) for pair in zip(*compared.f1_changes.values(), strict=True)]
    assert f1s[0] == f1s[1]
    assert compared.after.metrics.macro_f1 > compared.before.metrics.macro_f1, "what the floats say"
    assert not better(compared).promoted


def test_a_higher_macro_f1_does_not_outweigh_rows_that_are_proven_worse() -> None:
    # A rare label is found at the cost of rows of two frequent ones, too few to lower their F1.
    compared = comparison(
        "acr",
        [(980, "a", "a"), (20, "a", "a"), (1000, "c", "c"), (8, "r", "a"), (2, "r", "a")],
        [(980, "a", "a"), (20, "a", "c"), (1000, "c", "c"), (8, "r", "r"), (2, "r", "a")],
    )
    assert compared.after.metrics.macro_f1 > compared.before.metrics.macro_f1 + 0.2
    assert max(was - now for was, now in compared.f1_changes.values()) < 0.011
    decision = better(compared)
    assert not decision.promoted
    # Of 28 rows that one alone has right, 8 or fewer: p = 0.0357.
    assert decision.reason == (
        "mood:1 alone is right on 20 rows, the candidate alone on 8 (McNemar's p 0.0357)"
    )


def test_rows_that_chance_alone_may_make_worse_keep_nobody_out() -> None:
    compared = comparison(
        "acr",
        [(982, "a", "a"), (18, "a", "a"), (1000, "c", "c"), (8, "r", "a"), (2, "r", "a")],
        [(982, "a", "a"), (18, "a", "c"), (1000, "c", "c"), (8, "r", "r"), (2, "r", "a")],
    )
    assert compared.only_before > compared.only_after
    assert compared.p == pytest.approx(0.0755, abs=1e-4)
    assert better(compared).promoted


def test_a_label_that_is_given_up_keeps_it_out_however_good_the_rest_is() -> None:
    # F1 of c: 160/200 before; 2 x 75 / (75 + 25 + 75 + 20) = 150/195 after.
    compared = against(
        *((80, "a", "a"), (20, "a", "a")),
        *((80, "b", "b"), (20, "b", "c")),
        *((75, "c", "c"), (5, "c", "b"), (20, "c", "a")),
    )
    assert compared.after.metrics.macro_f1 > compared.before.metrics.macro_f1
    assert compared.only_after > compared.only_before
    decision = better(compared)
    assert not decision.promoted
    assert decision.reason == "the F1 of 'c' falls from 0.8000 to 0.7692, by more than 0.03"


def test_a_fall_of_exactly_what_is_allowed_passes() -> None:
    # F1 of c: 160/200 before, 2 x 77 / (2 x 77 + 23 + 23) = 154/200 after: 0.03, as floats more.
    compared = against(
        *((80, "a", "a"), (20, "a", "a")),
        *((77, "b", "b"), (20, "b", "c"), (3, "b", "c")),
        *((77, "c", "c"), (3, "c", "b"), (20, "c", "a")),
    )
    was, now = compared.f1_changes["c"]
    assert (was, now) == (0.8, 0.77)
    assert was - now > 0.03, "what the floats say"
    assert compared.after.metrics.macro_f1 > compared.before.metrics.macro_f1
    assert better(compared).promoted


def test_where_nothing_is_in_production_anything_may_serve() -> None:
    decision = Gate().decide(version(), None, measured(None))
    assert (decision.promoted, decision.reason) == (True, "no version was in production")


def test_other_labels_need_to_be_allowed() -> None:
    champion, other = version("abc"), version("abd", number=2)
    decision = Gate().decide(other, champion, measured(None, "it has other labels"))
    assert not decision.promoted
    assert decision.reason == (
        "its labels are not those of letters:1 (new: d; gone: c): give --allow-label-change if "
        "that is meant"
    )
    allowed = Gate(allow_label_change=True).decide(other, champion, measured(None))
    assert allowed.promoted
    assert allowed.reason == (
        "its labels are not those of letters:1 (new: d; gone: c), which was allowed; nothing "
        "could be compared"
    )
    # To be allowed other labels is not to be let through with the same ones.
    same = Gate(allow_label_change=True).decide(
        version("cba", number=2), champion, measured(against(*CHAMPION))
    )
    assert not same.promoted


def test_what_could_not_be_compared_is_not_promoted() -> None:
    found = measured(None, "letters:1 cannot be loaded: its files are damaged")
    for gate in (Gate(), Gate(allow_label_change=True)):
        decision = gate.decide(version(number=2), version(), found)
        assert not decision.promoted
        assert decision.reason == (
            "it was not compared: letters:1 cannot be loaded: its files are damaged"
        )


@pytest.fixture
def three(store: Store) -> list[Version]:
    """Three versions, the first of them in production."""
    made = [add_version(store, new_version(labels=("a", "b", "c")), who="me") for _ in range(3)]
    promote(store, "emotion", 1, who="me", why=None)
    return made


#: A candidate that is better at everything.
GOOD = against(*((count, true, true) for count, true, _ in CHAMPION))


def test_who_passes_serves_and_the_event_says_why(store: Store, three: list[Version]) -> None:
    decision = Gate().pass_through(store, three[1], three[0], measured(GOOD), who="ann")
    assert decision.promoted
    assert list_aliases(store) == {("emotion", "production"): 2}
    event = list_events(store, "emotion", 2)[-1]
    assert (event.event, event.alias, event.from_version) == ("promoted", "production", 1)
    assert (event.who, event.why) == ("ann", decision.reason)
    assert "macro-F1 1.0000 against 0.8000" in decision.reason


def test_who_does_not_pass_changes_nothing(store: Store, three: list[Version]) -> None:
    before = list_events(store, "emotion", 2)
    found = measured(against(*CHAMPION))
    assert not Gate().pass_through(store, three[1], three[0], found, who="ann").promoted
    assert list_aliases(store) == {("emotion", "production"): 1}
    assert list_events(store, "emotion", 2) == before


def test_a_version_promoted_in_the_meantime_stays(store: Store, three: list[Version]) -> None:
    promote(store, "emotion", 3, who="bob", why="by hand")
    decision = Gate().pass_through(store, three[1], three[0], measured(GOOD), who="ann")
    assert not decision.promoted
    assert decision.reason == (
        "emotion@production points to version 3 by now, not to 1: compare with that one, then "
        "promote emotion:2"
    )
    assert list_aliases(store) == {("emotion", "production"): 3}


def test_a_first_version_promoted_in_the_meantime_stays_too(store: Store) -> None:
    made = [add_version(store, new_version(), who="me") for _ in range(2)]
    promote(store, "emotion", 1, who="bob", why="by hand")
    decision = Gate().pass_through(store, made[1], None, measured(None), who="ann")
    assert (decision.promoted, list_aliases(store)) == (False, {("emotion", "production"): 1})
    assert "points to version 1 by now, not to none: " in decision.reason


def test_a_first_version_that_serves_already_is_in_production(store: Store) -> None:
    made = add_version(store, new_version(), who="me", why="training fit", alias="production")
    decision = Gate().pass_through(store, made, None, measured(None), who="ann")
    assert (decision.promoted, decision.reason) == (True, "no version was in production")
    assert list_aliases(store) == {("emotion", "production"): 1}
