"""CSV and TSV: what is a row, what is a reject, on which line; counts are written by hand."""

import random
from pathlib import Path

import pytest

from db.errors import UsageError
from producer import lines
from producer.formats.csv_rows import CsvRows
from producer.rows import Row
from tests.producer.reading import read_bytes, reader_of

MB = 1 << 20


def test_rows_have_text_id_and_kept_columns_as_they_are(tmp_path: Path) -> None:
    result = read_bytes(
        tmp_path,
        "id,text,lang,n\n7, spaced out ,en,1\n7,=SUM(A1),fr,\n",
        keep_columns=("n", "lang"),
    )
    assert [(row.external_id, row.text, row.extra) for row in result.rows] == [
        ("7", " spaced out ", {"n": "1", "lang": "en"}),
        ("7", "=SUM(A1)", {"n": "", "lang": "fr"}),
    ]


def test_too_few_and_too_many_fields_are_rejected_with_line_and_raw_row(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'id,text,n\n1,one\n2,two,2\n3,three,3,more\n4,"four,",4,x\n')
    assert result.texts == ["two"]
    assert result.reasons == [
        (2, "too few fields: 2 of 3"),
        (4, "too many fields: 4 of 3"),
        (5, "too many fields: 4 of 3"),
    ]
    assert [reject.raw for reject in result.rejects] == ["1,one", "3,three,3,more", '4,"four,",4,x']
    assert [item.row_number for item in result.rejects] == [1, 3, 4]
    assert result.rejects[0].source_file == str(tmp_path / "rows.csv")


def test_newlines_quotes_and_delimiters_inside_quotes_are_text(tmp_path: Path) -> None:
    result = read_bytes(
        tmp_path,
        b'id,text\r\n1,"a\r\nb"\r\n2,"say ""hi"""\r\n3,"x,y"\r\n4,"\r\rlone"\r\n5,"""""."\r\n6,ok\r\n',
    )
    assert result.texts == ["a\r\nb", 'say "hi"', "x,y", "\r\rlone", '"".', "ok"]
    assert result.rejects == []


def test_the_line_of_a_reject_counts_lines_inside_quotes(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'id,text\n1,"a\nb\nc"\n2\n3,"d\ne",x\n4\n')
    assert result.texts == ["a\nb\nc"]
    assert [line for line, _ in result.reasons] == [5, 6, 8]


def test_a_quote_inside_a_field_without_quotes_is_text(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'id,text\n1,a 5" disk\n2,he said "hi"\n3, "spaced"\n')
    assert result.texts == ['a 5" disk', 'he said "hi"', ' "spaced"']


@pytest.mark.parametrize(("end", "name"), [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")])
def test_every_line_end_is_one(tmp_path: Path, end: str, name: str) -> None:
    lines = ["id,text", "1,one", "", "2", '3,"a""b"', "4,four"]
    result = read_bytes(tmp_path, end.join(lines))
    assert result.texts == ["one", 'a"b', "four"]
    assert result.reasons == [(4, "too few fields: 1 of 2")]


def test_empty_lines_between_rows_are_no_rows_but_a_quoted_empty_text_is(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, '\n\ntext\n\none\n\n""\n  \ntwo\n\n')
    assert result.texts == ["one", "two"]
    assert result.reasons == [(7, "empty text"), (8, "empty text")]


def test_empty_lines_are_no_rows_of_a_column_without_quotes_either(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "text\none\n\n\n  \ntwo\n\n")
    assert result.texts == ["one", "two"]
    assert result.reasons == [(5, "empty text")]


def test_a_blank_text_is_rejected_and_an_invisible_one_is_not(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'id,text\n1,\n2,   \n3,"\t\n"\n4,\u2003\u00a0\n5,\u200b\n')
    assert result.texts == ["\u200b"]
    assert result.reasons == [(line, "empty text") for line in (2, 3, 4, 6)]


def test_a_nul_rejects_its_row_only(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, b'id,text\n1,good\n2,b\x00ad\n\x003,"bad"\n4,"fine"\n')
    assert result.texts == ["good", "fine"]
    assert result.reasons == [(3, "NUL character"), (4, "NUL character")]
    assert result.rejects[0].raw == "2,b\\x00ad"


def test_invalid_bytes_reject_their_row_only_and_the_person_is_advised(tmp_path: Path) -> None:
    result = read_bytes(
        tmp_path, b'id,text\n1,good\n2,caf\xe9\n3,"two\nlines \xff"\n4,fine\n5,\xed\xa0\x80\n'
    )
    assert result.texts == ["good", "fine"]
    assert result.reasons == [(3, "invalid utf-8"), (4, "invalid utf-8"), (7, "invalid utf-8")]
    assert result.rejects[0].raw == "2,caf\\xe9"
    assert any("--encoding latin-1" in note for note in result.notes)


def test_a_header_only_has_no_rows(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, "id,text\n").items == []
    assert read_bytes(tmp_path, "id,text").items == []


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n\n"])
def test_a_file_without_a_header_is_empty(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="is empty"):
        read_bytes(tmp_path, content)


@pytest.mark.parametrize(
    ("delimiter", "said"), [(";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", None)]
)
def test_the_delimiter_is_found_and_said(tmp_path: Path, delimiter: str, said: str | None) -> None:
    rows = [["id", "text"], ["1", '"a,b;c|d\te"'], ["2", "x: y"], ["3", "z"]]
    result = read_bytes(tmp_path, "\n".join(delimiter.join(row) for row in rows))
    assert result.texts == ["a,b;c|d\te", "x: y", "z"]
    notes = [note for note in result.notes if note.startswith("delimiter")]
    assert notes == ([] if said is None else [f"delimiter {said} found"])


def test_the_delimiter_is_the_one_by_which_rows_are_as_wide_as_the_header(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "id;text,or so\n1;a, b, c\n2;d\n", text_column="text,or so")
    assert result.texts == ["a, b, c", "d"]


def test_a_delimiter_can_be_given_and_must_be_a_character(tmp_path: Path) -> None:
    content = "id:text\n1:a,b\n"
    assert read_bytes(tmp_path, content, delimiter=":").texts == ["a,b"]
    assert read_bytes(tmp_path, "id\ttext\n1\ta,b\n", delimiter="tab").texts == ["a,b"]
    for wrong in ("::", '"', "", "\n"):
        with pytest.raises(UsageError, match="single character"):
            read_bytes(tmp_path, content, delimiter=wrong)


def test_tsv_is_split_at_tabs_only(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "id\ttext\n1\ta,b;c|d\n", "rows.tsv")
    assert result.texts == ["a,b;c|d"]
    assert not any("delimiter" in note for note in result.notes)


def test_names_of_columns_lose_spaces_and_the_byte_order_mark(tmp_path: Path) -> None:
    result = read_bytes(
        tmp_path, b'\xef\xbb\xbf id , "text" \n1,one\n'.replace(b' "text" ', b" text ")
    )
    assert (result.texts, result.rows[0].external_id) == (["one"], "1")


def test_a_column_that_is_there_twice_is_refused_only_where_it_is_needed(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, "n,n,text\n1,2,ok\n").texts == ["ok"]
    with pytest.raises(UsageError, match="2 columns named 'n'"):
        read_bytes(tmp_path, "n,n,text\n1,2,ok\n", id_column="n")
    with pytest.raises(UsageError, match="2 columns named 'text'"):
        read_bytes(tmp_path, "text,text\n1,2\n", text_column="text")


def test_a_text_of_a_megabyte_is_a_row_with_and_without_quotes(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, f'text\n{"a" * MB}\n"{"b" * MB}"\n{"c" * (15 * MB)}\nshort\n')
    assert [len(text) for text in result.texts] == [MB, MB, 15 * MB, 5]


def test_a_quoted_field_over_a_megabyte_is_rejected_and_the_next_line_is_read(
    tmp_path: Path,
) -> None:
    over = "b" * (MB + 1)
    result = read_bytes(tmp_path, f'text\n"{over}"\nnext\n"{over[:-5]}\nbbbbbb"\nlast\n')
    # The second one spans two lines: its second line is read as a row, as every next line is.
    assert result.texts == ["next", 'bbbbbb"', "last"]
    assert result.reasons == [(2, "quoted field over 1 MB"), (4, "quoted field over 1 MB")]
    assert all(len(reject.raw) == 4096 for reject in result.rejects)


def test_a_quoted_field_may_have_1000_lines_but_not_1001(tmp_path: Path) -> None:
    thousand = "\n".join(["x"] * 1000)
    result = read_bytes(tmp_path, f'id,text\n1,"{thousand}"\n2,ok\n')
    assert result.texts == [thousand, "ok"]
    result = read_bytes(tmp_path, f'id,text\n1,"{thousand}\nx"\n2,ok\n')
    assert result.texts == ["ok"]
    assert result.reasons[0] == (2, "quoted field over 1,000 lines")
    assert len(result.rejects) == 1001


def test_a_row_over_16_mb_is_rejected_in_one_piece(tmp_path: Path) -> None:
    long = b"y" * (16 * MB + 1)
    result = read_bytes(tmp_path, b"text\none\n" + long + b"\r\ntwo\n" + long)
    assert result.texts == ["one", "two"]
    assert result.reasons == [(3, "row over 16 MB"), (5, "row over 16 MB")]
    assert result.rejects[0].raw == "y" * 4096


def test_a_row_of_a_million_delimiters_is_one_reject(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "id,text\n" + "," * 1_000_000 + '\n1,"a"\n')
    assert result.texts == ["a"]
    assert result.reasons == [(2, "too many fields: 1000001 of 2")]


def test_an_id_over_1000_characters_is_rejected(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, f'id,text\n{"i" * 1000},ok\n{"i" * 1001},no\n"{"i" * 1001}",no\n')
    assert result.texts == ["ok"]
    assert result.reasons == [(n, "id over 1,000 characters") for n in (3, 4)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)), "picture"),
        (bytes(range(256)) * 20, "binary"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\x1f\x8brest", "gzip"),
        ("id,text\n1,a\n".encode("utf-16-le"), "--encoding utf-16-le"),
        (b"i\x00d,text\n1,a\n", "binary"),
        (b"t\xe9xt,n\nx,1\n", "--encoding latin-1"),
    ],
)
def test_a_binary_file_called_csv_is_refused_with_advice(
    tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read_bytes(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert "rows.csv" in str(caught.value)


def test_limit_counts_rows_labelled_or_rejected(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, "id,text\n1,a\n\n2\n3,c\n4,d\n", limit=3)
    assert result.texts == ["a", "c"]
    assert result.reasons == [(4, "too few fields: 1 of 2")]


#: What lines are made of, so that most have quotes, and most of those are right.
_PIECES = (
    '"',
    '""',
    ",",
    "a",
    " ",
    "é",
    '"x"',
    ',"y, z"',
    "\n",
    "\r\n",
    '"\n',
    'ok,"fine"\n',
    "\0",
)


@pytest.mark.parametrize("block_bytes", [1 << 20, 40])
def test_the_quick_way_reads_what_the_careful_way_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "rows.csv"
    chance = random.Random(7)
    quick = 0
    plain_lines = CsvRows._plain_lines
    for _ in range(400):
        pieces = chance.choices(_PIECES, weights=[3] * 12 + [0.2], k=chance.randint(1, 60))
        path.write_text("id,text\n" + "".join(pieces), newline="")
        read_so = []
        for way in (plain_lines, lambda rows, block: None):
            monkeypatch.setattr(CsvRows, "_plain_lines", way)
            reader = reader_of(path, text_column="text", delimiter=",")
            read_so.append([(item, reader.position) for item in reader])
        assert read_so[0] == read_so[1], "".join(pieces)
        quick += sum(isinstance(item, Row) and '"' in "".join(pieces) for item, _ in read_so[0])
    assert quick > 300


def test_a_line_that_is_too_long_for_the_quick_way_is_a_row(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, f'id,text\n1,"{"long, " * 40_000}"\n2,"short"\n')
    assert result.texts == ["long, " * 40_000, "short"]
