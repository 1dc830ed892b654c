"""The accuracy that random audits tell: whose answers count, the figures, and their intervals."""

import random
import statistics

import pytest
from scipy import optimize, stats

from db.agreement import PairAgreement, cohens_kappa
from db.audits import audit
from db.errors import UsageError
from db.proportions import proportion
from db.registry.versions import add_version
from db.store import Store
from tests.db.labels import correct, label_row
from tests.db.ledger_parts import begin
from tests.db.models import new_version


@pytest.fixture
def rows(store: Store) -> Store:
    """A job of twenty rows: fifteen joy of version 1, five anger of version 2."""
    for _ in range(2):
        add_version(store, new_version(labels=("anger", "joy", "fear")), who="me")
    begin(store)
    for row in range(1, 21):
        version = 1 if row <= 15 else 2
        label_row(store, 1, row, "joy" if version == 1 else "anger", model_version=version)
    return store


def counted(store: Store, model_version: int | None = None) -> tuple[int, int]:
    found = audit(store, 1, model_version).accuracy
    return found.right, found.rows


def test_nothing_audited_is_no_figure(rows: Store) -> None:
    correct(rows, 1, 1, "fear", 1, strategy="uncertain")
    correct(rows, 1, 2, "fear", 1)
    found = audit(rows, 1)
    assert (found.accuracy.rows, found.accuracy.share, found.accuracy.low) == (0, None, None)
    assert (found.precision, found.agreement) == ({}, ())
    with pytest.raises(UsageError, match="job 7"):
        audit(rows, 7)


def test_accuracy_and_precision_are_of_the_rows_chosen_at_random(rows: Store) -> None:
    for row, label in ((1, "joy"), (2, "joy"), (3, "fear"), (16, "anger"), (17, "joy")):
        correct(rows, 1, row, label, 1, strategy="random")
    correct(rows, 1, 4, "fear", 1, strategy="search")
    found = audit(rows, 1)
    assert (found.accuracy.right, found.accuracy.rows, found.accuracy.share) == (3, 5, 0.6)
    assert {label: (each.right, each.rows) for label, each in found.precision.items()} == {
        "joy": (2, 3),
        "anger": (1, 2),
    }
    assert counted(rows, 1) == (2, 3)
    assert counted(rows, 2) == (1, 2)
    assert counted(rows, 3) == (0, 0)


def test_a_withdrawn_answer_is_none(rows: Store) -> None:
    correct(rows, 1, 1, "joy", 1, "ann", "random")
    correct(rows, 1, 1, None, 2, "ann")
    assert counted(rows) == (0, 0)
    # Said again of a row that was not chosen at random: no audit.
    correct(rows, 1, 1, "joy", 3, "ann", "search")
    assert counted(rows) == (0, 0)


def test_who_audited_a_row_may_change_their_mind_in_any_way(rows: Store) -> None:
    correct(rows, 1, 1, "joy", 1, "ann", "random")
    assert counted(rows) == (1, 1)
    correct(rows, 1, 1, "fear", 2, "ann")
    assert counted(rows) == (0, 1)


def test_who_came_to_an_audited_row_in_another_way_does_not_decide(rows: Store) -> None:
    correct(rows, 1, 1, "joy", 1, "ann", "random")
    correct(rows, 1, 1, "fear", 2, "bob", "search")
    assert counted(rows) == (1, 1)
    correct(rows, 1, 1, "fear", 3, "cy", "random")
    assert counted(rows) == (0, 1)
    correct(rows, 1, 1, None, 4, "cy")
    assert counted(rows) == (1, 1)


def test_agreement_is_told_for_each_two_who_answered_the_same_rows(rows: Store) -> None:
    for row in range(1, 11):
        correct(rows, 1, row, "joy" if row <= 6 else "fear", 1, "ann", "random")
        correct(rows, 1, row, "joy" if row <= 5 or row == 10 else "fear", 1, "bob", "search")
    correct(rows, 1, 11, "joy", 1, "ann")
    correct(rows, 1, 1, "joy", 1, "cy")
    correct(rows, 1, 2, "joy", 1, "cy")
    correct(rows, 1, 2, None, 2, "cy")
    # By hand: both joy 5, both fear 3, joy and fear 1, fear and joy 1; by chance 0.6² + 0.4² = 0.52.
    pair, *others = audit(rows, 1).agreement
    assert (pair.first, pair.second, pair.rows, pair.equal, pair.share) == (
        "ann",
        "bob",
        10,
        8,
        0.8,
    )
    assert pair.kappa == pytest.approx((0.8 - 0.52) / 0.48)
    assert others == [
        PairAgreement("ann", "cy", 1, 1, None),
        PairAgreement("bob", "cy", 1, 1, None),
    ]


def test_kappa_is_one_at_best_nothing_by_chance_and_undefined_where_there_is_no_choice() -> None:
    assert cohens_kappa({("a", "a"): 4, ("b", "b"): 6}) == 1
    assert cohens_kappa({("a", "a"): 9, ("a", "b"): 3, ("b", "a"): 3, ("b", "b"): 1}) == 0
    assert cohens_kappa({("a", "b"): 5, ("b", "a"): 5}) == -1
    assert cohens_kappa({("a", "a"): 7}) is None


@pytest.mark.parametrize(
    ("right", "rows"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 10), (183, 200), (999, 1000)]
)
def test_the_interval_is_wilsons(right: int, rows: int) -> None:
    """SciPy's, and where the score of the share is just at the bound of a test of 5 %."""
    found = proportion(right, rows)
    assert found.share == right / rows
    assert found.low is not None
    assert found.high is not None
    reference = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    assert 0 <= found.low <= found.share <= found.high <= 1

    def beyond(share: float) -> float:
        expected: float = (share * (1 - share) / rows) ** 0.5
        return abs(found.right / rows - share) / expected - 1.959964

    if right:
        assert optimize.brentq(beyond, 1e-9, found.share - 1e-9) == pytest.approx(
            found.low, abs=1e-6
        )


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """A made population of known accuracy, drawn from without replacement."""
    chance = random.Random(3)
    for accuracy, audited in ((0.93, 200), (0.6, 60), (0.99, 150)):
        population = [place < accuracy * 20_000 for place in range(20_000)]
        held = []
        for _ in range(1000):
            found = proportion(sum(chance.sample(population, audited)), audited)
            assert found.low is not None
            assert found.high is not None
            held.append(found.low <= accuracy <= found.high)
        # Of a thousand 950, more or less three standard deviations of that, and what is discrete.
        assert 0.92 < statistics.fmean(held) < 0.985, (accuracy, statistics.fmean(held))
