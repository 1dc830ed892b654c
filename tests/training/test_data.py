"""Reading labelled data: every format, its splits, and what is refused."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from db.errors import LabelstreamError, UsageError
from training.data import label_names, read_data, with_label_order
from training.hub_data import split_rows
from training.label_files import read_label_file

EMOTION = Path(__file__).parents[3] / "shared" / "data" / "emotion"

ROWS = [("so happy; really", "joy"), ('she said "no"', "anger"), ("naïve 🙂", "joy")]

FILES = {
    "train.txt": 'so happy; really;joy\n\nshe said "no";anger\r\nnaïve 🙂;joy',
    "train.csv": '\ufefflabel,text\njoy,so happy; really\nanger,"she said ""no"""\njoy,naïve 🙂\n',
    "semicolons.csv": 'text;label\n"so happy; really";joy\n"she said ""no""";anger\nnaïve 🙂;joy\n',
    "train.tsv": 'id\ttext\tlabel\n1\tso happy; really\tjoy\n2\t"she said ""no"""\tanger\n'
    "3\tnaïve 🙂\tjoy\n",
    "train.jsonl": '{"text": "so happy; really", "label": "joy"}\n'
    '{"text": "she said \\"no\\"", "label": "anger"}\n\n{"label": "joy", "text": "naïve 🙂"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_each_text_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    assert [(row.text, row.label) for row in read_label_file(path).rows] == ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    texts, labels = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    assert [(row.text, row.label) for row in read_label_file(path).rows] == ROWS


def test_names_of_a_class_label_feature_are_kept_in_parquet(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["zest", "awe"])}
    )
    rows = {"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    for split in ("train", "validation"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(
            tmp_path / f"{split}.parquet"
        )
    data = read_data(str(tmp_path))
    assert data.labels == ("zest", "awe")
    assert data.train.label_ids[:4] == (0, 1, 0, 1)


def write_splits(folder: Path, **splits: str) -> None:
    for name, content in splits.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")


def test_a_folder_gives_its_splits_with_overlaps_told(tmp_path: Path) -> None:
    write_splits(
        tmp_path, train="a;joy\nb;fear\na;joy\nc;joy\n", val="b;fear\nd;joy\n", test="c;joy\n"
    )
    data = read_data(str(tmp_path))
    assert data.labels == ("fear", "joy")
    assert (data.train.texts, data.train.label_ids) == (("a", "b", "a", "c"), (1, 0, 1, 1))
    assert (data.validation.texts, data.validation.label_ids) == (("b", "d"), (0, 1))
    assert data.test is not None
    assert data.test.texts == ("c",)
    assert data.notes == (
        "1 texts of the training split occur more than once in it.",
        "2 texts of the training split also occur in validation or test.",
    )


def test_label_names_may_be_given_in_an_order(tmp_path: Path) -> None:
    write_splits(tmp_path, train="a;joy\nb;fear\n", val="c;joy\n")
    assert read_data(str(tmp_path), ["joy", "fear"]).train.label_ids == (0, 1)
    with pytest.raises(UsageError, match=r"train row 2: its label is not one of joy, love"):
        read_data(str(tmp_path), ["joy", "love"])


def test_one_file_alone_holds_out_its_validation_by_text(tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    path.write_text("".join(f"text {i % 100};{'ab'[i % 2]}\n" for i in range(200)))
    data = read_data(str(path))
    assert len(data.train.texts) + len(data.validation.texts) == 200
    assert 4 <= len(data.validation.texts) <= 40
    assert not set(data.train.texts) & set(data.validation.texts)
    assert data.test is None


def test_rows_without_text_are_left_out_and_told(tmp_path: Path) -> None:
    write_splits(tmp_path, train="a;joy\n  ;joy\nb;fear\n", val="c;joy\n")
    data = read_data(str(tmp_path))
    assert data.train.texts == ("a", "b")
    assert data.notes == ("1 rows without text were left out.",)


def test_the_fingerprint_knows_the_rows_but_not_their_order(tmp_path: Path) -> None:
    def fingerprint_of(train: str) -> str:
        write_splits(tmp_path, train=train, val="c;joy\n")
        return read_data(str(tmp_path)).fingerprint

    one = fingerprint_of("a;joy\nb;fear\n")
    assert fingerprint_of("b;fear\na;joy\n") == one
    assert fingerprint_of("a;fear\nb;joy\n") != one


def test_labels_that_are_tensors_are_refused_by_their_cause() -> None:
    labels = [torch.tensor(i % 6) for i in range(16_000)]
    assert len(set(labels)) == 16_000
    with pytest.raises(UsageError, match="Tensor objects, not plain values"):
        label_names(labels)


def test_too_many_labels_are_refused_by_their_cause() -> None:
    assert len(label_names([f"label {i % 50:02}" for i in range(60)])) == 50
    with pytest.raises(
        UsageError, match=r"^51 different labels in 60 rows \(at most 50\): .*tensor"
    ):
        label_names([f"label {i % 51:02}" for i in range(60)])
    assert len(label_names([f"label {i % 60:02}" for i in range(600)])) == 60
    with pytest.raises(UsageError, match=r"^61 different labels in 600 rows \(at most 60\)"):
        label_names([f"label {i % 61:02}" for i in range(600)])


def test_whole_numbers_are_labels_in_their_order() -> None:
    assert label_names([10, 2, 10, 2]) == ("2", "10")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "a;joy\nno label\n", r"line 2 has no semicolon: expected text;label"),
        ("t.csv", "txt,label\na,joy\n", r"needs the columns text and label, it has: txt, label"),
        ("t.csv", "text,label\na,b,joy\n", r"line 2 has 3 fields, the header 2"),
        ("t.csv", "", r"needs the columns text and label, it has: none"),
        ("t.jsonl", '{"text": "a", "label": "joy"}\n[1]\n', r"line 2 is no JSON object"),
        ("t.jsonl", '{"text": "a", "label"\n', r"line 1 is no valid JSON"),
        ("t.jsonl", '{"text": "a"}\n', r"line 1 needs the columns text and label, it has: text"),
        ("t.jsonl", '{"text": 3, "label": "joy"}\n', r"line 1: text is no string"),
        ("t.parquet", "no parquet", r"is no valid Parquet file"),
        ("t.txt", "a;joy\nb;joy\n" * 30, r"only 1 label in the data"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as raised:
        read_data(str(path))
    assert "\n" not in str(raised.value)


MANY = {
    "t.jsonl": '{"text": "a", "label": ["joy", "fear"]}\n',
    "l.jsonl": '{"text": "a", "labels": ["joy", "fear"]}\n',
    "e.jsonl": '{"text": "a", "label": []}\n',
    "t.csv": 'text,label\na,"[""joy"", ""fear""]"\n',
    "python.csv": "text,label\na,\"['joy', 'fear']\"\n",
    "numpy.csv": "text,labels\na,[0 1 0]\n",
    "t.txt": 'a;["joy", "fear"]\n',
}


@pytest.mark.parametrize("name", MANY)
def test_a_list_of_labels_a_row_is_recognised_and_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(MANY[name])
    with pytest.raises(UsageError, match="multi-label data cannot be trained on yet") as raised:
        read_data(str(tmp_path / name))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("column", ["label", "labels"])
def test_lists_in_parquet_and_of_the_hub_are_refused(column: str, tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["joy", "fear"])
    features = datasets.Features(
        {"text": datasets.Value("string"), column: datasets.Sequence(names)}
    )
    data = datasets.Dataset.from_dict({"text": ["a"], column: [[0, 1]]}, features=features)
    with pytest.raises(UsageError, match=rf"^data set owner/name, column {column}, holds a list"):
        split_rows("owner/name", data)
    data.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"row 1 holds a list of labels \(2 labels\)"):
        read_data(str(tmp_path / "t.parquet"))


def test_a_column_labels_without_lists_is_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,labels\na,joy\n")
    with pytest.raises(UsageError, match="needs the columns text and label, it has: text, labels"):
        read_data(str(tmp_path / "t.csv"))


ODD_LABELS = ["喜び", "très/bien", "[x]", "yes, no", "=1+1", "a: b", "<b>&", "🙂", "100 %", "null"]


@pytest.mark.parametrize("ending", ["txt", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "labels", [["はい", "いいえ"], ODD_LABELS, [f"l{n:02}" for n in range(28)]]
)
def test_labels_of_any_number_and_script(labels: list[str], ending: str, tmp_path: Path) -> None:
    rows = [(f"text {n}", labels[n % len(labels)]) for n in range(4 * len(labels))]
    for split in ("train", "val"):
        path = tmp_path / f"{split}.{ending}"
        table = pa.table({"text": [row[0] for row in rows], "label": [row[1] for row in rows]})
        if ending == "parquet":
            pq.write_table(table, path)
        elif ending == "csv":
            table.to_pandas().to_csv(path, index=False)
        elif ending == "jsonl":
            table.to_pandas().to_json(path, orient="records", lines=True)
        else:
            path.write_text("".join(f"{text};{label}\n" for text, label in rows))
    data = read_data(str(tmp_path))
    assert data.labels == tuple(sorted(labels))
    found = [data.labels[label_id] for label_id in data.validation.label_ids]
    assert list(zip(data.validation.texts, found, strict=True)) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": null}', "train row 1 has no label"),
        ('{"text": "a", "label": "  "}', "train row 1 has no label"),
        ('{"text": "a", "label": "x\\u0000"}', r"label 'x\\x00' holds control characters"),
    ],
)
def test_what_is_no_label_is_told(content: str, message: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(content + '\n{"text": "b", "label": "joy"}\n')
    with pytest.raises(UsageError, match=message):
        read_data(str(tmp_path))


def test_the_order_of_the_labels_can_be_changed(tmp_path: Path) -> None:
    write_splits(tmp_path, train="a;joy\nb;fear\n", val="c;joy\n", test="d;fear\n")
    data = with_label_order(read_data(str(tmp_path)), ["joy", "fear"])
    assert data == read_data(str(tmp_path), ["joy", "fear"])
    with pytest.raises(ValueError, match="are other labels than"):
        with_label_order(data, ["joy", "love"])


def test_objects_as_labels_in_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"text": "{i}", "label": {{"a": 1}}}}\n' for i in range(60)))
    with pytest.raises(UsageError, match="dict objects, not plain values"):
        read_data(str(path))


@pytest.mark.parametrize("source", ["./absent", "absent.csv", "/absent/folder"])
def test_a_missing_path_is_not_looked_for_on_a_hub(source: str) -> None:
    with pytest.raises(UsageError, match="does not exist: check --data"):
        read_data(source)


def test_a_folder_without_train_and_one_with_two_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no train file"):
        read_data(str(tmp_path))
    (tmp_path / "train.txt").write_text("a;joy\n")
    (tmp_path / "train.csv").write_text("text,label\na,joy\n")
    with pytest.raises(UsageError, match=r"holds train.csv and train.txt: keep one file a split"):
        read_data(str(tmp_path))


def test_the_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(LabelstreamError, match="is no file, and cannot be fetched") as raised:
        read_data("nobody/nothing-of-this-name")
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not EMOTION.is_dir(), reason=f"the emotion data set is not at {EMOTION}")
def test_the_emotion_data_is_read_as_its_readme_counts_it() -> None:
    data = read_data(str(EMOTION))
    assert data.test is not None
    assert [len(split.texts) for split in (data.train, data.validation, data.test)] == [
        16_000,
        2_000,
        2_000,
    ]
    counts = {label: data.train.label_ids.count(i) for i, label in enumerate(data.labels)}
    assert counts == {
        "anger": 2_159,
        "fear": 1_937,
        "joy": 5_362,
        "love": 1_304,
        "sadness": 4_666,
        "surprise": 572,
    }
    assert data.notes == (
        "31 texts of the training split occur more than once in it.",
        "16 texts of the training split also occur in validation or test.",
    )
