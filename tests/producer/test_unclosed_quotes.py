"""An unclosed quote costs its own row and no other, whatever stands around it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.producer.reading import read_bytes

SHAPES: dict[str, tuple[str, Callable[[int], str], str]] = {
    # header, every other row, the broken row 500
    "no other quotes": ("id,text", lambda n: f"{n},text {n}", '500,"never closed'),
    "all others quoted": ("id,text", lambda n: f'{n},"text {n}"', '500,"never closed'),
    "text first": ("text,id", lambda n: f'"text {n}",{n}', '"never closed,500'),
    "one column": ("text", lambda n: f"text {n}", '"never closed'),
    "one quoted column": ("text", lambda n: f'"text {n}"', '"never closed'),
    "everything quoted": ("id,text", lambda n: f'"{n}","text {n}"', '"500","never closed'),
    "the id is not closed": ("id,text", lambda n: f'"{n}","text {n}"', '"500,"never closed"'),
    "a field after it": ("id,text,n", lambda n: f'{n},"text {n}",1', '500,"never closed,1'),
    "two texts": ("id,text,b", lambda n: f'{n},"text {n}","b"', '500,"never closed,"b"'),
    "second text": ("id,b,text", lambda n: f'{n},"b","text {n}"', '500,"b","never closed'),
    "a lone quote": ("id,text", lambda n: f'{n},"text {n}"', '500,"'),
    "ends in a doubled quote": ("id,text", lambda n: f'{n},"text {n}"', '500,"never closed""'),
    "quotes in others": ("id,text", lambda n: f'{n},"he said ""{n}"" so"', '500,"never closed'),
    "others begin with a quote": ("id,text", lambda n: f'{n},"""{n}"" so"', '500,"never closed'),
    "others begin with a delimiter": ("id,text", lambda n: f'{n},", {n}"', '500,"never closed'),
    "delimiter then text first": ("text,id", lambda n: f'", {n}",{n}', '"never closed,500'),
    "text after a closed quote": ("id,text", lambda n: f'{n},"text {n}"', '500,"never" closed'),
    "a quote too many": ("id,text", lambda n: f'{n},"text {n}"', '500,""never closed"'),
    "empty fields quoted": ("id,text,b", lambda n: f'{n},text {n},""', '500,"never closed,""'),
    "bare quotes inside others": ("id,text", lambda n: f'{n},a 5" disk', '500,"never closed'),
    "multi-line others": ("id,text", lambda n: f'{n},"text\n{n}"', '500,"never closed'),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_other_999_rows_are_read(tmp_path: Path, shape: str, end: str) -> None:
    header, row, broken = SHAPES[shape]
    rows = [broken if n == 500 else row(n) for n in range(1, 1001)]
    result = read_bytes(tmp_path, (end.join([header, *rows]) + end).encode())
    assert len(result.rows) == 999
    assert [item.row_number for item in result.rejects] == [500]
    assert result.rejects[0].line == (999 + 1 if "multi-line" in shape else 501)
    assert result.rejects[0].raw == broken
    assert "closed" in result.rejects[0].reason or "closing" in result.rejects[0].reason


def test_an_unclosed_quote_with_nothing_after_it_for_1000_lines(tmp_path: Path) -> None:
    rows = ['500,"never closed' if n == 500 else f"{n},text {n}" for n in range(1, 3001)]
    result = read_bytes(tmp_path, "\n".join(["id,text", *rows]))
    assert len(result.rows) == 2999
    assert result.reasons == [(501, "quoted field over 1,000 lines")]


def test_an_unclosed_quote_in_the_last_row(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'id,text\n1,one\n2,"never closed')
    assert (result.texts, result.reasons) == (["one"], [(3, "quote never closed")])


def test_many_unclosed_quotes_cost_a_row_each(tmp_path: Path) -> None:
    rows = [f'{n},"open' if n % 10 == 0 else f"{n},text" for n in range(1, 2001)]
    result = read_bytes(tmp_path, "\n".join(["id,text", *rows]))
    assert (len(result.rows), len(result.rejects)) == (1800, 200)
    assert [reject.line for reject in result.rejects] == list(range(11, 2002, 10))


def test_every_quote_unclosed_rejects_every_row(tmp_path: Path) -> None:
    rows = [f'{n},"open ""{n}""' for n in range(1, 20_001)]
    result = read_bytes(tmp_path, "\n".join(["id,text", *rows]))
    assert (len(result.rows), len(result.rejects)) == (0, 20_000)
    assert {reason for _, reason in result.reasons} == {"quote never closed"}


def test_a_field_opened_on_a_later_line_of_a_row_is_to_blame_on_that_line(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, 'a,text\n"x\ny","never closed\n1,two\n')
    assert result.texts == ["two"]
    assert result.reasons == [(3, "quote never closed")]


def test_a_quote_that_a_later_line_closes_at_its_end_is_one_row(tmp_path: Path) -> None:
    # Nothing tells this from a text of two lines, and by the rules of CSV it is one.
    result = read_bytes(tmp_path, 'id,text\n1,"opened here\n2,closed here"\n3,three\n')
    assert result.texts == ["opened here\n2,closed here", "three"]
