"""Corrections: one by one, from files, all or nothing, shown at once, on both databases."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

import db.corrections.entering
from db.corrections import Entered, NewCorrection, add_corrections
from db.errors import UsageError
from db.ledger.stopping import purge
from db.registry.versions import add_version
from db.settings import Settings
from db.store import Store, open_store
from tests.db.labels import label_row
from tests.db.ledger_parts import begin, change, value
from tests.db.models import new_version
from tests.training.test_fit import Run, training
from training.corrections import read_corrections
from worker.preparing import prepare


@pytest.fixture
def labels(store: Store) -> Store:
    """Two jobs of five rows, 1-1 to 2-5, all joy, of a version that knows two labels."""
    return two_jobs(store)


def two_jobs(store: Store) -> Store:
    add_version(store, new_version(), who="me")
    add_version(store, new_version(labels=("anger", "joy", "fear")), who="me")
    for job in (1, 2):
        begin(store, identity=f"job {job}")
        for row in range(1, 6):
            scope = "rows.csv" if job == 1 else "other.csv"
            label_row(store, job, row, "joy", external_id=f"{job}-{row}", id_scope=scope)
    return store


def enter(store: Store, *given: NewCorrection, **options: Any) -> Entered:
    return add_corrections(store, given, **options)


def by_row(label: str, row: int, job: int = 1, who: str = "ann", place: int = 1) -> NewCorrection:
    return NewCorrection(label, who, job=job, row=row, place=place)


def by_id(label: str, name: str, job: int | None = None) -> NewCorrection:
    return NewCorrection(label, "ann", job=job, external_id=name)


def entered(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        query = "SELECT job_id, row_number, label, annotator FROM corrections ORDER BY id"
        return [tuple(row) for row in connection.execute(text(query))]


def reasons(found: Entered) -> list[str]:
    return [each.reason for each in found.refused]


def test_a_correction_shows_in_current_labels_at_once(labels: Store) -> None:
    assert enter(labels, by_row("anger", 3)).added == 1
    query = "SELECT label FROM current_labels WHERE job_id = 1 AND row_number = :row"
    assert value(labels, query, row=3) == "anger"
    assert value(labels, query, row=2) == "joy"
    assert value(labels, "SELECT label FROM labeled_texts WHERE job_id = 1 AND row_number = 3") == (
        "joy"
    ), "what the model said stays"


def test_the_log_is_only_ever_appended_to(labels: Store) -> None:
    for label in ("anger", "joy", "anger"):
        enter(labels, by_row(label, 1))
    assert [row[2] for row in entered(labels)] == ["anger", "joy", "anger"]


def test_an_unknown_label_is_refused_with_those_that_the_rows_own_version_knows(
    labels: Store,
) -> None:
    label_row(labels, 1, 6, "fear", model_version=2)
    assert enter(labels, by_row("fear", 6)).added == 1
    refused = enter(labels, by_row("fear", 1))
    assert reasons(refused) == ["emotion:1 knows no label 'fear'; its labels: anger, joy"]
    assert len(entered(labels)) == 1


def test_one_bad_line_keeps_all_the_others_out(labels: Store) -> None:
    given = [by_row("anger", row, place=row) for row in (1, 2, 9, 3)]
    given.append(by_row("rage", 4, place=10))
    found = enter(labels, *given)
    assert (found.added, [each.place for each in found.refused]) == (0, [9, 10])
    assert reasons(found)[0] == "there is no labelled row 9 in job 1"
    assert entered(labels) == []


def test_entering_the_same_again_adds_nothing(labels: Store) -> None:
    given = [by_row("anger", 1), by_row("joy", 1, who="bob"), by_row("joy", 2), by_row("anger", 2)]
    first = enter(labels, *given)
    assert (first.added, first.unchanged, first.superseded) == (3, 0, 1)
    before = entered(labels)
    again = enter(labels, *given)
    assert (again.added, again.unchanged, again.superseded) == (0, 3, 1)
    assert entered(labels) == before
    assert before == [(1, 1, "anger", "ann"), (1, 1, "joy", "bob"), (1, 2, "anger", "ann")]
    # Another opinion of one of them is news.
    assert enter(labels, by_row("joy", 1)).added == 1


def test_a_dry_run_says_the_same_and_writes_nothing(labels: Store) -> None:
    assert enter(labels, by_row("anger", 1), dry_run=True).added == 1
    assert enter(labels, by_row("rage", 1), dry_run=True).refused
    assert entered(labels) == []


def test_an_external_id_names_its_row(labels: Store) -> None:
    assert enter(labels, by_id("anger", "2-4")).added == 1
    assert entered(labels) == [(2, 4, "anger", "ann")]
    assert reasons(enter(labels, by_id("anger", "2-4", job=1))) == [
        "there is no labelled row with the external_id '2-4' in job 1"
    ]
    assert reasons(enter(labels, by_id("anger", "x\x00"))) == [
        "there is no labelled row with the external_id 'x\\x00'"
    ]


def test_of_rows_that_share_an_id_the_newest_is_meant(labels: Store) -> None:
    label_row(labels, 2, 7, "joy", minute=5, external_id="1-1", text="said anew")
    enter(labels, by_id("anger", "1-1"))
    assert entered(labels) == [(2, 7, "anger", "ann")]
    assert value(labels, "SELECT label FROM current_labels WHERE external_id = '1-1'") == "anger"


def test_an_id_of_several_sources_or_models_is_refused_until_a_job_is_named(labels: Store) -> None:
    add_version(labels, new_version("topics"), who="me")
    label_row(labels, 2, 7, "joy", external_id="1-1", id_scope="other.csv")
    label_row(labels, 1, 8, "joy", external_id="1-2", model="topics")
    assert reasons(enter(labels, by_id("anger", "1-1"), by_id("anger", "1-2"))) == [
        "external_id '1-1' stands in several sources or models (jobs 1, 2): give a job",
        "external_id '1-2' stands in several sources or models (jobs 1): give a job",
    ]
    assert enter(labels, by_id("anger", "1-1", job=2)).added == 1
    assert entered(labels) == [(2, 7, "anger", "ann")]


def test_an_id_with_two_texts_in_one_job_is_refused(labels: Store) -> None:
    for row, words in ((7, "one"), (8, "another"), (9, "one")):
        label_row(labels, 1, row, "joy", external_id="twice", text=words)
    assert reasons(enter(labels, by_id("anger", "twice"))) == [
        "external_id 'twice' has different texts in job 1 (rows 7, 8, 9): give job and row"
    ]


def test_corrections_of_more_rows_than_one_statement_holds(labels: Store) -> None:
    for row in range(6, 1300):
        label_row(labels, 1, row, "joy", external_id=f"many-{row}")
    ids = [by_id("anger", f"many-{row}") for row in range(6, 1300)]
    rows = [by_row("anger", row, who="bob") for row in range(6, 1300)]
    assert enter(labels, *ids, *rows).added == 2 * 1294
    assert enter(labels, *ids, *rows).unchanged == 2 * 1294


def test_a_row_that_is_purged_meanwhile_takes_the_whole_file_with_it(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go after they were looked up and before anything is written; SQLite lets nobody between."""
    labels = two_jobs(postgres_store)
    look_up = db.corrections.opinions.opinions

    def purge_then_look_up(*arguments: Any) -> Any:
        other = Store(labels.url)
        change(other, "UPDATE jobs SET state = 'done' WHERE id = 2")
        purge(other, 2)
        other.close()
        return look_up(*arguments)

    monkeypatch.setattr(db.corrections.entering, "opinions", purge_then_look_up)
    with pytest.raises(UsageError, match="purged while its rows were corrected"):
        enter(labels, by_row("anger", 1), by_row("anger", 1, job=2))
    assert entered(labels) == []


FILES = {
    "c.csv": "job,row,label,annotator\n1,2, anger ,bob\n1,3,joy,\n",
    "c.tsv": "job\trow\tlabel\tannotator\tnote\n1\t2\tanger\tbob\tx\n1\t3\tjoy\t\t\n",
    "semicolons.csv": "\ufeffrow_number;label;annotator;job_id\n2;anger;bob;1\n3;joy;;1\n",
    "c.jsonl": '{"job": 1, "row": 2, "label": "anger", "annotator": "bob"}\n'
    '{"job": "1", "row": 3.0, "label": "joy"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_corrections(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    given, refused = read_corrections(path, "me")
    assert refused == []
    assert [(one.job, one.row, one.label, one.annotator) for one in given] == [
        (1, 2, "anger", "bob"),
        (1, 3, "joy", "me"),
    ]


def test_parquet_with_whole_numbers_as_ids(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    columns: dict[str, Sequence[object]] = {
        "external_id": [17, None],
        "label": ["anger", "joy"],
        "row_number": [None, 4.0],
    }
    pq.write_table(pa.table(columns), path)
    given, refused = read_corrections(path, "me", job=7)
    assert refused == []
    assert [(one.job, one.row, one.external_id) for one in given] == [
        (7, None, "17"),
        (7, 4, None),
    ]


def test_lines_that_are_no_corrections_are_told_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    lines = ("1,2,", "x,2,joy", "1,0,joy", "1,-3,joy", f"1,{2**63},joy", "1,2,joy", "1,²,joy")
    path.write_text("job,row,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    given, refused = read_corrections(path, "me")
    assert [one.place for one in given] == [7]
    assert [(each.place, each.reason) for each in refused] == [
        (2, "it has no label"),
        (3, "its job is no number from 1 on"),
        (4, "its row is no number from 1 on"),
        (5, "its row is no number from 1 on"),
        (6, "its row is no number from 1 on"),
        (8, "its row is no number from 1 on"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "row,label\n1,joy\n"),
        ("c.csv", "external_id,text\n1,joy\n"),
        ("c.jsonl", '{"external_id": "a", "label": "joy"}\n{"label": "joy"}\n'),
    ],
)
def test_a_file_without_the_columns_is_one_line(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="needs the columns label and external_id, or label"):
        read_corrections(tmp_path / name, "me")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Store]:
    """The home that a command finds by itself: the starter, and a job of thirty rows."""
    settings = Settings(_env_file=None, home_dir=tmp_path / ".labelstream")
    store = open_store(settings)
    prepare(store, settings)
    begin(store)
    for row in range(1, 31):
        label_row(store, 1, row, "joy", external_id=f"id-{row}", text=f"secret words {row}")
    yield store
    store.close()


def said(done: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_command_for_one_row(home: Store, tmp_path: Path) -> None:
    done = training(tmp_path, "correct", 1, 5, "love", "--annotator", "ann")
    assert (done.status, done.stdout) == (0, "row 5 of job 1 is love now, says ann\n"), done.stderr
    done = training(tmp_path, "correct", 1, 5, "fear", "--json")
    assert said(done)["label"] == "fear"
    assert value(home, "SELECT label FROM current_labels WHERE external_id = 'id-5'") == "fear"
    assert len(entered(home)) == 2
    for arguments, message in (
        ((1, 5, "rage"), "its labels: sadness, joy, love, anger, fear, surprise"),
        ((1, 31, "joy"), "there is no labelled row 31 in job 1"),
        ((1, 2**70, "joy"), "there is no labelled row"),
        ((1, 5, "joy", "--annotator", " "), "the annotator's name is blank"),
    ):
        done = training(tmp_path, "correct", *arguments)
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
    assert len(entered(home)) == 2


def test_the_command_takes_back_what_was_said_of_a_row(home: Store, tmp_path: Path) -> None:
    for who, label in (("bob", "fear"), ("ann", "love")):
        training(tmp_path, "correct", 1, 5, label, "--annotator", who)
    done = training(tmp_path, "correct", 1, 5, "--withdraw", "--annotator", "ann")
    assert (done.status, done.stdout) == (0, "ann says nothing of row 5 of job 1 any more\n")
    assert value(home, "SELECT label FROM current_labels WHERE external_id = 'id-5'") == "fear"
    again = training(tmp_path, "correct", 1, 5, "--withdraw", "--annotator", "ann")
    assert (again.status, again.stdout) == (
        0,
        "ann had said nothing of row 5 of job 1: nothing was withdrawn\n",
    )
    assert said(training(tmp_path, "correct", 1, 5, "--withdraw", "--annotator", "bob", "--json")) == {
        "job": 1, "row": 5, "label": None, "annotator": "bob", "withdrawn": True,
    }  # fmt: skip
    assert value(home, "SELECT label FROM current_labels WHERE external_id = 'id-5'") == "joy"
    assert len(entered(home)) == 4
    for arguments, message in (
        ((1, 5, "joy", "--withdraw"), "give the right label, or --withdraw"),
        ((1, 5), "give the right label, or --withdraw"),
        ((1, 31, "--withdraw"), "there is no labelled row 31 in job 1"),
        ((1, 2**70, "--withdraw"), "there is no labelled row"),
        ((1, 5, "--withdraw", "--annotator", " "), "the annotator's name is blank"),
    ):
        done = training(tmp_path, "correct", *arguments)
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
    assert len(entered(home)) == 4


def test_the_command_for_a_file(home: Store, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(
        "external_id,label,annotator\n" + "".join(f"id-{n},love,ann\n" for n in range(1, 11))
    )
    dry = said(training(tmp_path, "corrections", "import", "good.csv", "--dry-run", "--json"))
    assert (dry["lines"], dry["added"], dry["dry_run"]) == (10, 10, True)
    assert entered(home) == []
    first = said(training(tmp_path, "corrections", "import", "good.csv", "--json"))
    assert (first["added"], first["unchanged"], first["refused"]) == (10, 0, 0)
    again = training(tmp_path, "corrections", "import", "good.csv")
    assert (again.status, again.stdout) == (
        0,
        "0 corrections added, 10 were known, 0 are followed by another of the same row\n",
    )
    assert len(entered(home)) == 10
    count = "SELECT count(*) FROM current_labels WHERE label = 'love' AND corrected"
    assert value(home, count) == 10


def test_bad_lines_are_listed_up_to_twenty_and_counted(home: Store, tmp_path: Path) -> None:
    lines = ["1,1,love"] + [f"1,{n},rage" for n in range(1, 25)] + ["1,x,love"]
    (tmp_path / "bad.csv").write_text("job,row,label\n" + "\n".join(lines) + "\n")
    done = training(tmp_path, "corrections", "import", "bad.csv", "--json")
    assert done.status == 2
    told = said(done)
    assert (told["lines"], told["added"], told["refused"]) == (26, 0, 25)
    assert [each["line"] for each in told["errors"]] == list(range(3, 23))
    *listed, more, error = done.stderr.splitlines()
    assert len(listed) == 20
    assert listed[0].startswith("line 3: emotion:1 knows no label 'rage'; its labels: sadness, ")
    assert more == "… and 5 more"
    assert error.startswith("error: 25 of 26 lines of bad.csv cannot be entered, so none was")
    assert entered(home) == []
    assert "secret" not in done.stderr + done.stdout
    absent = training(tmp_path, "corrections", "import", "absent.csv")
    assert (absent.status, absent.stdout) == (2, "")
    assert "absent.csv is no file" in absent.stderr
