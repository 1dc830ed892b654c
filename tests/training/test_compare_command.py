"""`training compare`: what a promotion would change on rows that nobody labelled."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from db.ledger.stopping import purge
from db.store import Store, open_store
from tests.db.labels import label_rows
from tests.db.ledger_parts import begin, change
from tests.training.conftest import Moods
from tests.training.moods import Texts, one_torch_thread, refused, said, settings_of
from training.flips import Flip, StoredText, flip_counts, sample_texts
from worker import Classifier

#: What would clear a terminal, ring its bell, and turn its writing round.
STEERING = "\x1b[2J\x07\u202e\r"

#: Rows of the job: 1 to 240 have a text, but those in `GONE`.
ROWS, GONE = 240, {7, 90, 91}


@pytest.fixture(scope="module")
def home(moods: Moods, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a job whose texts are moods, some with what steers a terminal."""
    home = moods.copied(tmp_path_factory.mktemp("compared") / "home")
    texts = Texts(seed=4)
    words = [texts.of(("calm", "cross", "afraid")[n % 3]) for n in range(ROWS)]
    store = open_store(settings_of(home))
    assert begin_job(store, "moods") == 1
    steering = [f"{each}{STEERING}\n{'and so ' * 20}" for each in words]
    label_rows(store, 1, steering, "calm", model="mood")
    change(store, f"UPDATE labeled_texts SET text = NULL WHERE row_number IN {tuple(GONE)}")
    store.close()
    return home


def begin_job(store: Store, identity: str) -> int:
    return begin(store, identity=identity, model="mood", model_ref="mood@production").job


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(settings_of(home))
    yield store
    store.close()


def compared(home: Path, *arguments: object) -> dict[str, Any]:
    """What `training compare --json` says: one JSON object and nothing else."""
    found = json.loads(said(home, "compare", *arguments, "--job", 1, "--json"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def by_hand(home: Path) -> list[Flip]:
    """The flips from `mood:1` to `mood:2`, of all rows with a text, as two classifiers give them."""
    store = open_store(settings_of(home))
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT row_number, text FROM labeled_texts WHERE text IS NOT NULL"
        ).all()
    store.close()
    texts = [row.text for row in rows]
    answers = []
    for name in ("mood:1", "mood:2"):
        with one_torch_thread(), Classifier.load(name, settings=settings_of(home)) as classifier:
            answers.append(classifier(texts))
    return [
        Flip(row.row_number, row.text, old["label"], new["label"], old["score"], new["score"])
        for row, old, new in zip(rows, *answers, strict=True)
        if old["label"] != new["label"]
    ]


def test_the_flips_are_those_of_the_two_classifiers(home: Path, by_hand: list[Flip]) -> None:
    found = compared(home, "mood:1", "mood:2", "--sample", 1000)
    assert (found["before"], found["after"], found["job"]) == ("mood:1", "mood:2", 1)
    assert found["rows"] == ROWS - len(GONE)
    assert found["flips"] == len(by_hand) > 50
    told = {(each["before"], each["after"]): each["rows"] for each in found["from_to"]}
    assert told == Counter((flip.before, flip.after) for flip in by_hand)
    counts = [each["rows"] for each in found["from_to"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == found["flips"]


def test_the_most_confident_flips_come_first(home: Path, by_hand: list[Flip]) -> None:
    shown = compared(home, "mood:1", "mood:2")["most_confident"]
    surest = sorted((flip.after_confidence for flip in by_hand), reverse=True)
    assert len(shown) == 20
    assert [each["after_confidence"] for each in shown] == pytest.approx(surest[:20], rel=1e-6)
    rows = {flip.row: flip for flip in by_hand}
    for each in shown:
        flip = rows[each["row"]]
        assert (each["text"], each["before"], each["after"]) == (flip.text, flip.before, flip.after)
        assert each["before_confidence"] == pytest.approx(flip.before_confidence, rel=1e-6)


def test_the_way_back_flips_the_same_rows(home: Path, by_hand: list[Flip]) -> None:
    found = compared(home, "mood:2", "mood:1")
    told = {(each["before"], each["after"]): each["rows"] for each in found["from_to"]}
    assert told == Counter((flip.after, flip.before) for flip in by_hand)


def test_a_version_beside_itself_flips_nothing(home: Path) -> None:
    found = compared(home, "mood:1", "mood@production")
    assert (found["flips"], found["from_to"], found["most_confident"]) == (0, [], [])
    assert said(home, "compare", "mood:1", "mood:1", "--job", 1) == (
        f"0 of {ROWS - len(GONE)} rows of job 1 would flip (0.00%) from mood:1 to mood:1\n"
    )


def test_a_sample_has_as_many_rows_as_asked_for(home: Path, by_hand: list[Flip]) -> None:
    found = compared(home, "mood:1", "mood:2", "--sample", 50, "--seed", 3)
    assert found["rows"] == 50
    again = compared(home, "mood:1", "mood:2", "--sample", 50, "--seed", 3)
    assert again == found
    flipping = {flip.row for flip in by_hand}
    assert {each["row"] for each in found["most_confident"]} <= flipping


def test_people_see_the_flips_and_nothing_that_steers_their_terminal(
    home: Path, by_hand: list[Flip]
) -> None:
    text = said(home, "compare", "mood:1", "mood:2", "--job", 1)
    lines = text.split("\n")
    rows, share = ROWS - len(GONE), len(by_hand) / (ROWS - len(GONE))
    assert lines[0] == (
        f"{len(by_hand)} of {rows} rows of job 1 would flip ({share:.2%}) from mood:1 to mood:2"
    )
    (first, count), *_ = Counter((flip.before, flip.after) for flip in by_hand).most_common()
    assert lines[2].split() == ["from", "to", "rows"]
    assert lines[3].split() == [*first, str(count)]
    assert all(each.isprintable() for each in lines)
    surest = max(by_hand, key=lambda flip: flip.after_confidence)
    start = lines.index("the most confident flips:") + 2
    cells = lines[start].split(maxsplit=5)
    assert cells[:5] == [
        str(surest.row),
        surest.before,
        f"{surest.before_confidence:.4f}",
        surest.after,
        f"{surest.after_confidence:.4f}",
    ]
    assert cells[5].startswith(surest.text.partition("\x1b")[0])
    # 80 characters of each, and a sign that there is more.
    assert len(cells[5]) == 81
    assert cells[5].endswith("…")


def test_without_texts_none_is_shown(home: Path, by_hand: list[Flip]) -> None:
    arguments = ("compare", "mood:1", "mood:2", "--job", 1, "--no-text")
    for shown in (said(home, *arguments), said(home, *arguments, "--json")):
        assert not any(flip.text.partition("\x1b")[0] in shown for flip in by_hand)
        assert "and so" not in shown
    assert {each["text"] for each in json.loads(shown)["most_confident"]} == {None}


def test_what_cannot_be_compared_is_one_line(home: Path, store: Store) -> None:
    jobs = [begin_job(store, name) for name in ("without texts", "purged", "empty")]
    for job in jobs[:2]:
        label_rows(store, job, ["so calm", "so sad"], "calm", model="mood")
    change(store, "UPDATE labeled_texts SET text = NULL WHERE job_id = :job", job=jobs[0])
    change(store, "UPDATE jobs SET state = 'done' WHERE id = :job", job=jobs[1])
    purge(store, jobs[1])
    none = (
        "has no rows with a stored text: it labelled none, was purged, or ran with --no-store-text"
    )
    asked = ("compare", "mood:1", "mood:2", "--job")
    for job in jobs:
        assert refused(home, *asked, job) == f"job {job} {none}"
    assert "there is no job 99" in refused(home, *asked, 99)
    assert "there is no model mood:9" in refused(home, "compare", "mood:1", "mood:9", "--job", 1)
    assert "engine constant computes with no model" in refused(home, *asked, 1, engine="constant")
    assert "--sample" in refused(home, *asked, 1, "--sample", 0)


def test_a_sample_is_drawn_from_all_rows_that_have_a_text(store: Store) -> None:
    everyone = {number for number in range(1, ROWS + 1) if number not in GONE}
    drawn = [{row.row for row in sample_texts(store, 1, 60, seed)} for seed in range(40)]
    assert all(len(each) == 60 for each in drawn), "and none of them twice"
    assert set().union(*drawn) == everyone
    # Each row is in a sample with a probability of 60/237, so 10 times of 40 with a standard
    # deviation of 2.75.
    often = Counter(row for each in drawn for row in each)
    assert max(often.values()) < 10 + 5 * 2.75
    assert len({frozenset(each) for each in drawn}) == 40
    assert len(sample_texts(store, 1, 5000, 1)) == len(everyone)


def test_a_sample_finds_the_few_rows_that_have_a_text(store: Store) -> None:
    job = begin_job(store, "few")
    label_rows(store, job, [f"text {n}" for n in range(3000)], "calm", model="mood")
    change(store, f"UPDATE labeled_texts SET text = NULL WHERE job_id = {job} AND row_number > 4")
    change(
        store, f"UPDATE labeled_texts SET text = 'last' WHERE job_id = {job} AND row_number = 3000"
    )
    found = sample_texts(store, job, 3, seed=1)
    assert len(found) == 3
    assert set(sample_texts(store, job, 100, seed=1)) == {
        *(StoredText(n, f"text {n - 1}") for n in range(1, 5)),
        StoredText(3000, "last"),
    }
    with pytest.raises(UsageError, match="there is no job 99"):
        sample_texts(store, 99, 3, seed=1)


def test_flips_are_counted_by_from_and_to() -> None:
    flips = [
        Flip(n, "", before, after, 0.5, 0.5)
        for n, (before, after) in enumerate([("a", "b"), ("b", "a"), ("a", "b"), ("a", "c")])
    ]
    assert flip_counts(flips) == [("a", "b", 2), ("b", "a", 1), ("a", "c", 1)]
