"""The store's own rows as data to train on, with people's corrections over the model's labels."""

from pathlib import Path

import pytest

from db.errors import UsageError
from db.ledger.stopping import purge
from db.registry.versions import add_version
from db.settings import get_settings
from db.store import Store, open_store
from tests.db.labels import correct, label_row
from tests.db.ledger_parts import begin, change
from tests.db.models import new_version
from training.data import LabelledData, read_data
from worker.preparing import prepare

LABELS = ("joy", "anger", "fear")


@pytest.fixture
def rows(store: Store) -> Store:
    """A job of forty rows, joy and anger by turns, of a version that knows fear too."""
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    for row in range(1, 41):
        label_row(store, 1, row, LABELS[row % 2], text=f"text {row}")
    return store


def labelled(data: LabelledData) -> dict[str, str]:
    """Every text of train and validation with its label."""
    return {
        text: data.labels[label_id]
        for split in (data.train, data.validation)
        for text, label_id in zip(split.texts, split.label_ids, strict=True)
    }


def test_rows_carry_the_models_label_or_the_newest_correction(rows: Store) -> None:
    correct(rows, 1, 2, "fear", minute=9)
    correct(rows, 1, 2, "anger", minute=5)
    correct(rows, 1, 3, "fear", minute=1)
    correct(rows, 1, 3, "joy", minute=2)
    data = read_data("job:1", store=rows)
    expected = {f"text {row}": LABELS[row % 2] for row in range(1, 41)}
    assert labelled(data) == {**expected, "text 2": "fear", "text 3": "joy"}
    assert data.labels == LABELS, "in the version's order, also those that no row has"
    assert (data.name, data.test) == ("job:1", None)


def test_a_correction_of_the_same_text_in_another_job_counts(rows: Store) -> None:
    begin(rows, identity="another")
    label_row(rows, 2, 1, "joy", text="text  4 ")
    correct(rows, 2, 1, "fear", minute=1)
    assert labelled(read_data("job:1", store=rows))["text 4"] == "fear"


def test_corrected_rows_alone(rows: Store) -> None:
    for row in range(1, 31):
        correct(rows, 1, row, LABELS[row % 3], minute=1)
    data = read_data("job:1:corrected", store=rows)
    assert labelled(data) == {f"text {row}": LABELS[row % 3] for row in range(1, 31)}


def test_rows_without_a_stored_text_are_left_out(rows: Store) -> None:
    change(rows, "UPDATE labeled_texts SET text = NULL WHERE row_number > 37")
    assert len(labelled(read_data("job:1", store=rows))) == 37


def test_labels_of_older_versions_are_kept(rows: Store) -> None:
    add_version(rows, new_version(labels=("anger", "joy")), who="me")
    label_row(rows, 1, 41, "fear", text="old")
    label_row(rows, 1, 42, "joy", text="new", model_version=2)
    data = read_data("job:1", store=rows)
    assert data.labels == ("anger", "joy", "fear")
    assert labelled(data)["old"] == "fear"


def test_what_cannot_be_read_is_one_line(rows: Store, tmp_path: Path) -> None:
    add_version(rows, new_version("tags", multi_label=True), who="me")
    begin(rows, identity="tags", model="tags")
    label_row(rows, 2, 1, "joy", model="tags")
    for source, message in (
        ("job:7", "there is no job 7"),
        ("job:x", "write job:NUMBER or job:NUMBER:corrected"),
        ("job:1:right", "write job:NUMBER or job:NUMBER:corrected"),
        ("job:1:corrected", "job 1 has no corrected rows with a stored text"),
        ("job:2", "multi-label data cannot be trained on yet"),
    ):
        with pytest.raises(UsageError, match=message):
            read_data(source, store=rows)
    change(rows, "UPDATE jobs SET state = 'done' WHERE id = 1")
    purge(rows, 1)
    with pytest.raises(UsageError, match=r"job 1 has no rows with a stored text: .* was purged"):
        read_data("job:1", store=rows)


def test_the_store_is_by_default_the_one_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELSTREAM_HOME_DIR", str(tmp_path / "home"))
    settings = get_settings()
    with pytest.raises(UsageError, match="there is no job 1 in"):
        read_data("job:1")
    store = open_store(settings)
    prepare(store, settings)
    begin(store)
    for row in range(1, 41):
        label_row(store, 1, row, ("joy", "love")[row % 2])
    store.close()
    data = read_data("job:1")
    assert data.labels == ("sadness", "joy", "love", "anger", "fear", "surprise")
    assert len(labelled(data)) == 40
