"""Rows into the files of annotation tools and their answers back, as corrections in SQL."""

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import text

from db.corrections import (
    NewCorrection,
    add_corrections,
    corrected_without_text,
    newest_by_text,
    withdraw,
)
from db.errors import UsageError
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store, open_store
from tests.db.labels import label_row
from tests.db.ledger_parts import begin, value
from tests.db.models import new_version
from tests.training.test_fit import training
from training.review.names import Strategy, Tool
from training.review.picking import Review, pick, shared_out
from training.review.tools import read, write
from training.store_data import StoreRows, read_store_rows
from worker.preparing import prepare

LABELS = ("anger", "joy", "fear")
#: What would be more than text, if anybody took it for that.
HOSTILE = '<script>alert("é")</script>, =SUM(A1)\n"; DROP TABLE jobs; --'


@pytest.fixture
def rows(store: Store) -> Store:
    return thirty(store)


def thirty(store: Store) -> Store:
    """Thirty rows of job 1, each less confident than the last: twenty joy, eight anger, two fear."""
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    for number in range(1, 31):
        label = "joy" if number <= 20 else "anger" if number <= 28 else "fear"
        words = HOSTILE if number == 30 else f"text {number}"
        label_row(store, 1, number, label, text=words, confidence=round(1 - number / 100, 2))
    return store


def correct(store: Store, *numbers: int, strategy: str | None = None) -> None:
    given = [
        NewCorrection("fear", "ann", job=1, row=n, place=n, strategy=strategy) for n in numbers
    ]
    assert add_corrections(store, given).refused == ()


def test_the_uncertain_come_first_and_none_that_was_corrected(rows: Store) -> None:
    correct(rows, 29, 27)
    picked = pick(rows, 1, Strategy.UNCERTAIN, 4, seed=0)
    assert [row.row for row in picked.rows] == [30, 28, 26, 25]
    assert picked.labels == list(LABELS)
    assert (picked.rows[1].label, picked.rows[1].version) == ("anger", "emotion:1")


def test_a_random_pick_is_of_all_rows_the_same_for_a_seed_and_each_as_likely(rows: Store) -> None:
    one, same = (pick(rows, 1, Strategy.RANDOM, 10, seed=3) for _ in range(2))
    assert one == same
    assert len({row.row for row in one.rows}) == 10
    seen = Counter(
        row.row for seed in range(120) for row in pick(rows, 1, Strategy.RANDOM, 10, seed).rows
    )
    # Forty times each, more or less: five standard deviations.
    assert set(seen) == set(range(1, 31))
    assert all(14 < times < 66 for times in seen.values())
    everything = pick(rows, 1, Strategy.RANDOM, 1000, seed=0).rows
    assert sorted(row.row for row in everything) == list(range(1, 31))


def test_a_stratified_pick_has_as_many_of_each_label_as_there_are(rows: Store) -> None:
    picked = pick(rows, 1, Strategy.STRATIFIED, 12, seed=0)
    assert Counter(row.label for row in picked.rows) == {"joy": 5, "anger": 5, "fear": 2}


@pytest.mark.parametrize(
    ("there", "wanted", "shares"),
    [
        ({"a": 9, "b": 9, "c": 9}, 10, {"a": 3, "b": 3, "c": 4}),
        ({"a": 1, "b": 100}, 10, {"a": 1, "b": 9}),
        ({"a": 1, "b": 2}, 10, {"a": 1, "b": 2}),
        ({"a": 5, "b": 5}, 1, {"a": 0, "b": 1}),
        ({}, 5, {}),
    ],
)
def test_what_one_label_lacks_the_others_share(
    there: dict[str, int], wanted: int, shares: dict[str, int]
) -> None:
    assert shared_out(there, wanted) == shares


def test_as_many_are_shared_out_as_are_wanted_or_there() -> None:
    chance = random.Random(5)
    for _ in range(500):
        there = {str(n): chance.randint(1, 9) for n in range(chance.randint(1, 6))}
        wanted = chance.randint(1, 60)
        shares = shared_out(there, wanted)
        assert sum(shares.values()) == min(wanted, sum(there.values()))
        assert all(shares[label] <= there[label] for label in there)


def test_what_cannot_be_picked_is_told(rows: Store) -> None:
    with pytest.raises(UsageError, match="job 7"):
        pick(rows, 7, Strategy.RANDOM, 5, seed=0)
    correct(rows, *range(1, 31))
    for strategy in (Strategy.UNCERTAIN, Strategy.STRATIFIED):
        with pytest.raises(UsageError, match="nobody has corrected yet"):
            pick(rows, 1, strategy, 5, seed=0)
    correct(rows, *range(1, 31), strategy="random")
    with pytest.raises(UsageError, match="nobody has answered in an audit yet"):
        pick(rows, 1, Strategy.RANDOM, 5, seed=0)


def as_labelstudio(path: Path, answers: dict[int, str | None]) -> Any:
    """Return the tasks of `path` as Label Studio exports them, answered by the user 7."""
    exported = []
    for number, task in enumerate(json.loads(path.read_text()), 1):
        label = answers.get(task["data"]["row"])
        result = {
            "id": "Dx_aB91ISN",
            "type": "choices",
            "value": {"choices": [label]},
            "origin": "manual",
            "to_name": "text",
            "from_name": "label",
        }
        annotation = {
            "id": 1000 + number,
            "completed_by": 7,
            "result": [] if label is None else [result],
            "was_cancelled": label is None,
            "ground_truth": False,
            "created_at": "2026-11-26T08:00:00.728353Z",
            "updated_at": "2026-11-26T08:00:00.728378Z",
            "lead_time": 4.288,
            "prediction": {},
            "result_count": 1,
            "task": number,
        }
        exported.append(
            {
                "id": number,
                "annotations": [annotation],
                "file_upload": "1a2b3c4d-rows.json",
                "drafts": [],
                "predictions": [17],
                "data": task["data"],
                "meta": {},
                "created_at": "2026-11-26T07:00:00.000000Z",
                "updated_at": "2026-11-26T08:00:00.728378Z",
                "inner_id": number,
                "total_annotations": 1,
                "cancelled_annotations": int(label is None),
                "total_predictions": 1,
                "project": 83,
            }
        )
    return exported


def as_labelstudio_min(path: Path, answers: dict[int, str | None]) -> Any:
    """The same as its JSON-MIN; what was skipped is not in it."""
    return [
        {
            **task["data"],
            "id": number,
            "label": answers[task["data"]["row"]],
            "annotator": 7,
            "annotation_id": 1000 + number,
            "created_at": "2026-11-26T08:00:00.728353Z",
            "updated_at": "2026-11-26T08:00:00.728378Z",
            "lead_time": 4.288,
        }
        for number, task in enumerate(json.loads(path.read_text()), 1)
        if answers.get(task["data"]["row"]) is not None
    ]


def as_argilla(path: Path, answers: dict[int, str | None]) -> Any:
    records = json.loads(path.read_text())
    for record in records:
        label = answers.get(record["metadata"]["row"])
        if label is not None:
            record["responses"] = {"label": [{"value": label, "user_id": "5b0f"}]}
        record["_server_id"] = "0a1b"
    return records


def as_prodigy(path: Path, answers: dict[int, str | None]) -> Any:
    tasks = [json.loads(line) for line in path.read_text().splitlines()]
    for task in tasks:
        label = answers.get(task["meta"]["row"])
        task.update(answer="accept" if label else "ignore", _annotator_id="ann", _timestamp=1)
        task.update(_input_hash=1, _task_hash=2, _view_id="choice")
        if label:
            task["accept"] = [label]
    return tasks


def dump(items: Any, path: Path) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(item)}\n" for item in items))
    else:
        path.write_text(json.dumps(items))
    return path


ANSWERED: dict[str, tuple[Tool, str, Callable[[Path, dict[int, str | None]], Any], str]] = {
    "Label Studio": (Tool.LABELSTUDIO, ".json", as_labelstudio, "label-studio user 7"),
    "Label Studio, JSON-MIN": (
        Tool.LABELSTUDIO,
        ".json",
        as_labelstudio_min,
        "label-studio user 7",
    ),
    "Argilla": (Tool.ARGILLA, ".json", as_argilla, "argilla user 5b0f"),
    "Prodigy": (Tool.PRODIGY, ".jsonl", as_prodigy, "ann"),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_answers_of_a_tool_arrive_as_corrections(rows: Store, tmp_path: Path, name: str) -> None:
    tool, ending, answered, who = ANSWERED[name]
    path = tmp_path / f"rows{ending}"
    assert write(pick(rows, 1, Strategy.UNCERTAIN, 4, seed=0), tool, path)[0] == path
    said: dict[int, str | None] = {30: "joy", 29: "fear", 28: None, 27: "anger"}
    answers = read(dump(answered(path, said), tmp_path / f"answered{ending}"), "me")
    assert answers.refused == []
    assert answers.skipped == (0 if "MIN" in name else 1)
    assert add_corrections(rows, answers.given).refused == ()
    with rows.read() as connection:
        found = connection.execute(
            text("SELECT row_number, label, annotator FROM corrections ORDER BY row_number")
        ).all()
    assert [tuple(row) for row in found] == [
        (27, "anger", who),
        (29, "fear", who),
        (30, "joy", who),
    ]
    assert value(rows, "SELECT label FROM current_labels WHERE row_number = 30") == "joy"


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("name", ANSWERED)
def test_answers_remember_how_their_rows_were_chosen(
    sqlite_store: Store, tmp_path: Path, name: str, strategy: Strategy
) -> None:
    rows = thirty(sqlite_store)
    tool, ending, answered, _ = ANSWERED[name]
    path = tmp_path / f"rows{ending}"
    review = pick(rows, 1, strategy, 3, seed=0)
    write(review, tool, path)
    said: dict[int, str | None] = {row.row: "joy" for row in review.rows}
    exported = answered(path, said)
    answers = read(dump(exported, tmp_path / f"answered{ending}"), "me")
    assert add_corrections(rows, answers.given).added == 3
    stored = "SELECT count(*) FROM corrections WHERE strategy = :strategy"
    assert value(rows, stored, strategy=strategy) == 3
    assert add_corrections(rows, answers.given).added == 0
    # Of a file that has lost it, or says something else, nothing is known.
    lost = json.loads(json.dumps(exported).replace(f'"{strategy}"', '"by hand"'))
    assert {one.strategy for one in read(dump(lost, path), "me").given} == {None}


def test_a_spreadsheet_remembers_it_too(rows: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(pick(rows, 1, Strategy.RANDOM, 3, seed=0), Tool.CSV, path)
    path.write_text(path.read_text().replace(",random,", ",random,joy"))
    assert {one.strategy for one in read(path, "me").given} == {"random"}
    path.write_text("job,row,label\n1,1,joy\n")
    assert [one.strategy for one in read(path, "me").given] == [None]


def test_a_spreadsheet_comes_back_with_the_labels_that_were_filled_in(
    rows: Store, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    write(pick(rows, 1, Strategy.UNCERTAIN, 4, seed=0), Tool.CSV, path)
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table[0]["text"] == HOSTILE
    assert [row["label"] for row in table] == [""] * 4
    table[0]["label"], table[2]["label"] = "joy", " anger "
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    answers = read(path, "me")
    assert (len(answers.given), answers.skipped, answers.refused) == (2, 2, [])
    assert add_corrections(rows, answers.given).added == 2
    assert value(rows, "SELECT label FROM corrections WHERE row_number = 28") == "anger"
    assert value(rows, "SELECT annotator FROM corrections WHERE row_number = 30") == "me"


def test_a_row_that_has_another_text_here_is_refused(rows: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write(pick(rows, 1, Strategy.UNCERTAIN, 3, seed=0), Tool.ARGILLA, path)
    records = as_argilla(path, {30: "joy", 29: "joy", 28: "joy"})
    records[1]["metadata"]["row"] = 5
    entered = add_corrections(rows, read(dump(records, path), "me").given)
    [refused] = entered.refused
    assert refused.place == 2
    assert "row 5 of job 1 has another text than the one that was shown" in refused.reason
    assert value(rows, "SELECT count(*) FROM corrections") == 0


def test_a_file_is_not_written_over_and_is_called_by_what_it_is(
    rows: Store, tmp_path: Path
) -> None:
    review = pick(rows, 1, Strategy.RANDOM, 2, seed=0)
    path = tmp_path / "rows.json"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write(review, Tool.LABELSTUDIO, path)
    assert [path] == list(tmp_path.iterdir())
    assert path.read_text() == "mine"
    write(review, Tool.LABELSTUDIO, path, force=True)
    assert len(json.loads(path.read_text())) == 2
    for name in ("rows.csv", ".", "rows"):
        with pytest.raises(UsageError, match=r"let it end with \.json"):
            write(review, Tool.LABELSTUDIO, tmp_path / name)


def test_of_argilla_what_was_submitted_counts(tmp_path: Path) -> None:
    row = {"job": 1, "row": 1}
    given = [{"value": "joy", "status": "draft"}, {"value": "fear", "status": "submitted"}]
    record = {"fields": {}, "metadata": row, "responses": {"label": given}}
    answers = read(dump([record], tmp_path / "records.json"), "me")
    assert [one.label for one in answers.given] == ["fear"]
    assert answers.skipped == 1


def test_a_text_with_any_line_end_survives_a_spreadsheet(store: Store, tmp_path: Path) -> None:
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    words = ["a\rb", "1,2\r,3", "x\u2028y\x85z", "=1+1"]
    for number, each in enumerate(words, 1):
        label_row(store, 1, number, "joy", text=each)
    for tool, name in ((Tool.CSV, "rows.csv"), (Tool.PRODIGY, "rows.jsonl")):
        write(pick(store, 1, Strategy.UNCERTAIN, 9, 0), tool, tmp_path / name)
        answers = read(tmp_path / name, "me")
        assert (answers.refused, answers.skipped) == ([], 4)
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [*words[:3], "'=1+1"]


MALFORMED: list[Any] = [
    {"annotations": [{"result": [{"type": "choices", "value": [1]}]}], "data": {"job": 1, "row": 1}},
    {"annotations": [{"result": [{"type": "choices", "value": {"choices": 5}}]}],
     "data": {"job": 1, "row": 1}},
    {"annotations": [{"result": [{"type": "choices", "value": {"choices": [[1]]}}]}], "data": 5},
    {"annotation_id": 1, "label": {"choices": 7}, "job": 1, "row": 1},
    {"annotation_id": 1, "label": "joy", "job": "9" * 5000, "row": 1},
    {"fields": {}, "metadata": {"job": 1, "row": 1}, "responses": {"label": 5}},
    {"fields": {}, "metadata": {"job": 1, "row": 1}, "responses": {"label": [{"value": {"a": 1}}]}},
    {"answer": "accept", "meta": {"job": 1, "row": 1.5}, "accept": ["joy"]},
]  # fmt: skip


@pytest.mark.parametrize("item", MALFORMED)
def test_a_malformed_answer_is_refused_and_breaks_nothing(tmp_path: Path, item: Any) -> None:
    answers = read(dump([item], tmp_path / "answers.json"), "me")
    assert answers.given == []
    assert [each.place for each in answers.refused] == [1]


def test_two_people_may_answer_for_one_row(rows: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write(pick(rows, 1, Strategy.UNCERTAIN, 1, seed=0), Tool.LABELSTUDIO, path)
    [task] = as_labelstudio(path, {30: "joy"})
    other = {**task["annotations"][0], "completed_by": {"id": 9, "email": "ann@example.org"}}
    task["annotations"].append(other)
    answers = read(dump([task], path), "me")
    assert [one.annotator for one in answers.given] == ["label-studio user 7", "ann@example.org"]


def test_the_labelling_interface_is_xml_whatever_the_labels_are(
    rows: Store, tmp_path: Path
) -> None:
    labels = ['a "quoted" <label>', "R&D", *(f"label {n}" for n in range(9))]
    review = Review(pick(rows, 1, Strategy.RANDOM, 2, 0).rows, labels, Strategy.RANDOM)
    files = write(review, Tool.LABELSTUDIO, tmp_path / "rows.json")
    assert files[1].name == "rows.config.xml"
    view = ElementTree.parse(files[1]).getroot()  # noqa: S314  (our own)
    assert [choice.get("value") for choice in view.iter("Choice")] == labels
    assert [choice.get("hotkey") for choice in view.iter("Choice")][8:] == ["9", None, None]
    [choices] = view.iter("Choices")
    [shown] = view.iter("Text")
    result = json.loads(files[0].read_text())[0]["predictions"][0]["result"][0]
    assert (result["from_name"], result["to_name"]) == (choices.get("name"), shown.get("name"))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"meta": {}, "answer": "accept", "accept": ["joy"]}, "it has lost its job"),
        ({"answer": "accept", "accept": ["joy"]}, "it has lost its job"),
        ({"meta": {"job": 1, "row": 0}, "answer": "accept", "accept": ["joy"]}, "lost its row"),
        ({"meta": {"job": 1, "row": 2**70}, "answer": "accept", "accept": ["joy"]}, "lost its row"),
        ({"meta": {"job": 1, "row": 1}, "answer": "accept", "accept": ["joy", "fear"]}, "several"),
        ({"meta": {"job": 1, "row": 1}, "answer": "accept", "accept": [7]}, "its label is no text"),
    ],
)
def test_an_answer_that_cannot_be_used_is_told_with_its_place(
    tmp_path: Path, item: dict[str, Any], reason: str
) -> None:
    good = {"meta": {"job": 1, "row": 3}, "answer": "accept", "accept": ["joy"]}
    answers = read(dump([good, item], tmp_path / "answers.jsonl"), "me")
    assert len(answers.given) == 1
    assert [each.place for each in answers.refused] == [2]
    assert reason in answers.refused[0].reason


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("answers.json", "[1, 2]"),
        ("answers.json", '[{"a": 1}'),
        ("answers.json", "[" * 100_000),
        ("answers.json", '[{"text": "no tool writes this"}]'),
        ("answers.json", ""),
        ("answers.jsonl", "no json\n"),
        ("answers.csv", "job,row\n1,2\n"),
        ("answers.json", "\xff\xfe"),
    ],
)
def test_a_file_of_no_tool_is_refused_in_a_line(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError) as refused:
        read(path, "me")
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_commands(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home_dir=tmp_path / ".labelstream")
    store = open_store(settings)
    prepare(store, settings)
    begin(store)
    for number in range(1, 11):
        label_row(store, 1, number, "joy", text=f"text {number}", confidence=number / 10)
    options = ("--format", "labelstudio", "--rows", 3)
    done = training(tmp_path, "review", "export", 1, "rows.json", *options)
    assert done.status == 0, done.stderr
    assert done.stdout == (
        "3 rows of job 1 are in rows.json\nthe labelling interface for them is in rows.config.xml\n"
    )
    dump(
        as_labelstudio(tmp_path / "rows.json", {1: "love", 2: None, 3: "joy"}), tmp_path / "a.json"
    )
    done = training(tmp_path, "review", "import", "a.json", "--json")
    assert done.status == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["answers"], said["added"], said["skipped"]) == (2, 2, 1)
    again = training(tmp_path, "review", "import", "a.json")
    assert again.stdout.startswith("0 corrections added, 2 were known")
    assert value(store, "SELECT count(*) FROM corrections") == 2
    dump(as_labelstudio(tmp_path / "rows.json", {1: "rage"}), tmp_path / "b.json")
    wrong = training(tmp_path, "review", "import", "b.json")
    assert wrong.status == 2
    assert "answer 1: emotion:1 knows no label 'rage'" in wrong.stderr
    for arguments, message in (
        (("export", 9, "x.csv"), "job 9"),
        (("export", 1, "no/folder/x.csv"), "cannot be written"),
        (("export", 1, "rows.json"), "no name for csv"),
        (("import", "absent.json"), "absent.json is no file"),
    ):
        done = training(tmp_path, "review", *arguments)
        assert done.status == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    store.close()


def test_the_command_that_tells_the_accuracy(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home_dir=tmp_path / ".labelstream")
    store = open_store(settings)
    prepare(store, settings)
    begin(store)
    for number in range(1, 41):
        label_row(store, 1, number, "joy" if number % 4 else "fear", text=f"text {number}")
    nothing = training(tmp_path, "review", "accuracy", 1)
    assert nothing.status == 0
    assert nothing.stdout.startswith("no row of job 1 was audited: training review export 1 FILE")
    options = ("--format", "argilla", "--strategy", "random", "--rows", 20)
    assert training(tmp_path, "review", "export", 1, "rows.json", *options).status == 0
    records = json.loads((tmp_path / "rows.json").read_text())
    told = {
        record["metadata"]["row"]: record["suggestions"]["label"]["value"] for record in records
    }
    wrong = sorted(row for row, label in told.items() if label == "joy")[:3]
    for who in ("ann", "bob"):
        said: dict[int, str | None] = {
            row: "love" if row in wrong else label for row, label in told.items()
        }
        answered = as_argilla(tmp_path / "rows.json", said)
        for record in answered:
            record["responses"]["label"][0]["user_id"] = who
        dump(answered, tmp_path / f"{who}.json")
        assert training(tmp_path, "review", "import", f"{who}.json").status == 0
    done = training(tmp_path, "review", "accuracy", 1)
    assert done.status == 0, done.stderr
    fear = sum(label == "fear" for label in told.values())
    head, accuracy, of_fear, of_joy, people = done.stdout.splitlines()
    assert head == "job 1, rows chosen at random, with 95 % intervals"
    # Wilson's interval of 17 of 20, by hand: 0.6396 to 0.9476.
    assert [part.strip() for part in accuracy.split("  ")[-3:]] == [
        "85.0%",
        "(64.0% to 94.8%)",
        "17 of 20",
    ]
    assert of_fear.startswith("precision of fear")
    assert of_fear.endswith(f"{fear} of {fear}")
    assert of_joy.endswith(f"{17 - fear} of {20 - fear}")
    assert people.startswith("argilla user ann and argilla user bob")
    assert people.endswith("100.0%  agree, kappa 1.00  20 of 20")
    found = json.loads(training(tmp_path, "review", "accuracy", 1, "--json").stdout)
    assert (found["job"], found["rows"], found["right"], found["share"]) == (1, 20, 17, 0.85)
    assert (round(found["low"], 4), round(found["high"], 4)) == (0.6396, 0.9476)
    assert found["precision"]["joy"]["rows"] == 20 - fear
    assert found["agreement"][0]["kappa"] == 1
    other = training(tmp_path, "review", "accuracy", 1, "--model-version", 2, "--json")
    assert json.loads(other.stdout)["share"] is None
    absent = training(tmp_path, "review", "accuracy", 9)
    assert (absent.status, absent.stdout, absent.stderr.count("\n")) == (2, "", 1)
    store.close()


def test_an_answer_that_is_withdrawn_leaves_the_models_label_for_training_and_its_row_open(
    rows: Store, tmp_path: Path
) -> None:
    correct(rows, 30, 29)
    assert withdraw(rows, 1, 30, "ann")
    data = read_store_rows(StoreRows(1, corrected_only=True), rows)
    assert [row.place for row in data.rows] == [29]
    path = tmp_path / "rows.csv"
    write(pick(rows, 1, Strategy.UNCERTAIN, 2, seed=0), Tool.CSV, path)
    with path.open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["30", "28"]
    with rows.read() as connection:
        assert [each.text for each in newest_by_text(connection, "emotion").values()] == ["text 29"]
        assert corrected_without_text(connection, "emotion") == 0
