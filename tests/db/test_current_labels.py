"""The view `current_labels`, rule by rule."""

from typing import Any

import pytest
from sqlalchemy import text

from db.registry.versions import add_version
from db.store import Store
from tests.db.labels import correct, label_row
from tests.db.ledger_parts import begin
from tests.db.models import new_version


@pytest.fixture
def labels(store: Store) -> Store:
    """Make two jobs, two models, and a second version of one that knows a label more."""
    add_version(store, new_version(), who="me")
    add_version(store, new_version(labels=("anger", "joy", "fear")), who="me")
    add_version(store, new_version("topics"), who="me")
    begin(store, identity="first")
    begin(store, identity="second")
    return store


def current(store: Store) -> list[Any]:
    with store.read() as connection:
        query = "SELECT * FROM current_labels ORDER BY model, job_id, row_number"
        return list(connection.execute(text(query)))


def one(store: Store) -> Any:
    rows = current(store)
    assert len(rows) == 1, rows
    return rows[0]


def test_the_newest_row_of_an_id_counts(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=5, external_id="a")
    label_row(labels, 2, 1, "anger", minute=9, external_id="a", text="changed")
    label_row(labels, 1, 2, "joy", minute=7, external_id="a")
    row = one(labels)
    assert (row.label, row.model_label, bool(row.corrected)) == ("anger", "anger", False)
    assert (row.job_id, row.row_number, row.text) == (2, 1, "changed")
    assert (row.annotator, row.corrected_at) == (None, None)


@pytest.mark.parametrize(("job", "row"), [(2, 1), (1, 7)])
def test_of_rows_of_one_moment_the_later_job_and_then_row_counts(
    labels: Store, job: int, row: int
) -> None:
    label_row(labels, job, row, "anger", external_id="a")
    label_row(labels, 1, 2, "joy", external_id="a")
    assert one(labels).label == "anger"


def test_an_id_counts_within_its_scope_only(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", external_id="a", id_scope="x.csv", text="same")
    label_row(labels, 2, 1, "anger", external_id="a", id_scope="y.csv", text="same")
    assert [(row.id_scope, row.label) for row in current(labels)] == [
        ("x.csv", "joy"),
        ("y.csv", "anger"),
    ]


def test_each_model_has_a_current_label(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=1, external_id="a")
    label_row(labels, 2, 1, "anger", minute=2, external_id="a", model="topics")
    assert [(row.model, row.label) for row in current(labels)] == [
        ("emotion", "joy"),
        ("topics", "anger"),
    ]


def test_without_an_id_the_text_is_the_key_in_every_scope(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=1, id_scope="x.csv", text="same")
    label_row(labels, 2, 1, "anger", minute=2, id_scope="y.csv", text="same")
    label_row(labels, 2, 2, "joy", minute=2, text="other")
    label_row(labels, 2, 3, "joy", minute=3, text="same", external_id="has an id")
    assert [(row.text, row.label, row.external_id) for row in current(labels)] == [
        ("same", "anger", None),
        ("other", "joy", None),
        ("same", "joy", "has an id"),
    ]


def test_without_id_and_hash_every_row_is_its_own(labels: Store) -> None:
    for row in (1, 2):
        label_row(labels, 1, row, "joy", text_hash=None)
    label_row(labels, 2, 1, "joy", text_hash=None)
    assert len(current(labels)) == 3


def test_a_correction_wins_over_every_model_row_of_its_key(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=1, external_id="a")
    correct(labels, 1, 1, "anger", minute=2, who="ann")
    label_row(labels, 2, 1, "joy", minute=9, external_id="a")
    row = one(labels)
    assert (row.label, row.model_label, bool(row.corrected)) == ("anger", "joy", True)
    assert (row.annotator, row.job_id) == ("ann", 2)
    moment = row.corrected_at
    assert (moment if isinstance(moment, str) else moment.isoformat(" "))[:16] == "2026-01-31 12:02"


def test_the_newest_correction_counts_whichever_row_it_is_of(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=1, external_id="a")
    label_row(labels, 2, 1, "joy", minute=2, external_id="a")
    correct(labels, 1, 1, "anger", minute=9, who="late")
    correct(labels, 2, 1, "joy", minute=5, who="early")
    correct(labels, 1, 1, "joy", minute=3, who="first")
    row = one(labels)
    assert (row.label, row.annotator) == ("anger", "late")


def test_of_corrections_of_one_moment_the_last_entered_counts(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", external_id="a")
    for label in ("joy", "anger"):
        correct(labels, 1, 1, label, minute=1)
    assert one(labels).label == "anger"


def test_a_correction_that_the_current_version_does_not_know_does_not_count(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", minute=1, external_id="a")
    correct(labels, 1, 1, "anger", minute=2)
    correct(labels, 1, 1, "fear", minute=3)
    row = one(labels)
    assert (row.label, bool(row.corrected), row.annotator) == ("joy", False, None)
    label_row(labels, 2, 1, "joy", minute=4, external_id="a", model_version=2)
    row = one(labels)
    assert (row.label, bool(row.corrected)) == ("fear", True)


def test_a_correction_does_not_leave_its_key(labels: Store) -> None:
    label_row(labels, 1, 1, "joy", external_id="a")
    label_row(labels, 1, 2, "joy", external_id="b")
    label_row(labels, 1, 3, "joy", external_id="a", model="topics")
    correct(labels, 1, 1, "anger", minute=1)
    assert {(row.model, row.external_id): row.label for row in current(labels)} == {
        ("emotion", "a"): "anger",
        ("emotion", "b"): "joy",
        ("topics", "a"): "joy",
    }
