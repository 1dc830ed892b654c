"""Columns: guessed where there is one sensible choice, and said; else the error lists them."""

from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from tests.producer.reading import read_bytes, reader_of


@pytest.mark.parametrize(
    ("content", "text", "identifier"),
    [
        ("a,Tweet\n1,x\n", "Tweet", None),
        ("ID,MESSAGE,title\n1,x,y\n", "MESSAGE", "ID"),
        ("content,tweet_id\nx,1\n", "content", "tweet_id"),
        ("anything\nx\n", "anything", None),
        ("n,when,comment\n1,2024-01-31,hello\n2,2024-02-01T10:00:00Z,\n", "comment", None),
        ("n,share,ok,comment\n1,-1.5e3,true,hello\n", "comment", None),
        ("uuid,comment\nabc-def,hello\n", "comment", "uuid"),
    ],
)
def test_the_one_sensible_choice_is_taken_and_said(
    tmp_path: Path, content: str, text: str, identifier: str | None
) -> None:
    (tmp_path / "a.csv").write_text(content)
    reader = reader_of(tmp_path / "a.csv")
    reader.open()
    assert (reader.options.text_column, reader.options.id_column) == (text, identifier)
    assert any(f"text column {text!r} guessed" in note for note in reader.notes)
    assert any("id column" in note for note in reader.notes) == (identifier is not None)


@pytest.mark.parametrize(
    "content",
    [
        "title,comment\nhello,there\n",
        "text,body\nhello,there\n",
        "n,m\n1,2\n",
        "n,m\n",
    ],
)
def test_without_one_the_columns_are_listed(tmp_path: Path, content: str) -> None:
    names = content.split("\n", 1)[0].replace(",", ", ")
    with pytest.raises(UsageError, match=f"columns are: {names}; name one: --text-column"):
        read_bytes(tmp_path, content)


def test_two_columns_that_may_be_the_id_are_no_id(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "id,tweet_id,text\n1,2,hello\n")
    assert result.rows[0].external_id is None


@pytest.mark.parametrize("option", ["text_column", "id_column", "keep_columns"])
def test_a_missing_column_is_told_with_the_closest_one(tmp_path: Path, option: str) -> None:
    value: Any = ("Langs",) if option == "keep_columns" else "Langs"
    with pytest.raises(UsageError) as error:
        read_bytes(tmp_path, "id,text,lang\n1,x,en\n", **{option: value})
    assert str(error.value) == (
        f"{tmp_path}/rows.csv has no column 'Langs'; its columns are: id, text, lang; "
        "did you mean 'lang'?"
    )


def test_many_columns_are_not_all_listed(tmp_path: Path) -> None:
    header = ",".join(f"c{n}" for n in range(100))
    with pytest.raises(UsageError, match="c19 and 80 more"):
        read_bytes(tmp_path, f"{header}\n")


def test_guessed_and_named_columns_make_the_same_options(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,x\n")
    named = reader_of(tmp_path / "a.csv", text_column="text", id_column="id")
    assert named.options == reader_of(tmp_path / "a.csv").options
    named.open()
    assert named.notes == []
