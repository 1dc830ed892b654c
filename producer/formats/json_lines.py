"""JSON Lines: an object a line; of a key that is there twice the last one counts."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from db.errors import UsageError
from db.row_rules import NUL, ROW_TOO_LONG, unstorable
from producer.columns import Columns, looks_like_text
from producer.content import Sample
from producer.formats.binary import refuse_binary
from producer.formats.head import Head
from producer.formats.making import RowMaker, Value, invalid
from producer.formats.naming import Format
from producer.lines import LineWindow
from producer.rows import Extra, RejectedRow, Row

#: Lines of the beginning whose keys are the columns.
_SAMPLE_LINES = 100


#: Largest integer that every JSON column keeps exactly.
_LARGEST = 2**63 - 1


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


#: Python's decoder keeps integers of any size, which ids have; NaN and Infinity are no JSON.
_decode = json.JSONDecoder(parse_constant=_no_number).decode


def json_head(sample: Sample, format_: Format, given: Columns | None, source: str) -> Head:
    """Return what a JSON Lines file begins with.

    Raises `UsageError` if it is binary, or if no line is an object and no column is `given`.
    """
    refuse_binary(sample, source)
    values: dict[str, list[str]] = {}
    lines = sample.whole_lines.splitlines()[:_SAMPLE_LINES]
    for line in lines:
        row = _object(line, sample.encoding.codec)
        if row is not None:
            for name, value in row.items():
                values.setdefault(name, []).extend([value] if isinstance(value, str) else [])
    if not values and given is None:
        raise UsageError(
            f"{source}: none of its first lines is a JSON object; "
            "JSON Lines has one object on each line"
        )
    names = tuple(values) or (given.all if given is not None else ())
    texts = tuple(name for name in values if looks_like_text(values[name]))
    return Head(
        format=format_,
        encoding=sample.encoding,
        names=names,
        texts=texts,
        offset=sample.mark,
    )


def _object(line: bytes, codec: str) -> dict[str, Any] | None:
    try:
        row = _decode(line.decode(codec))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


class JsonRows:
    """Reads rows off a window of lines; blank lines are no rows."""

    def __init__(self, window: LineWindow, head: Head, columns: Columns, maker: RowMaker) -> None:
        self._window = window
        self._maker = maker
        self._codec = head.encoding.codec
        self._encoding = head.encoding.name
        self._columns = columns

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        window = self._window
        while window.load() is not None:
            before = window.first_line
            for index, line in enumerate(window.lines, 1):
                window.index = index
                if window.cut:
                    yield self._maker.reject(before + index, ROW_TOO_LONG, line)
                elif line.strip():
                    yield self._made(line, before + index)

    def _made(self, line: bytes, number: int) -> Row | RejectedRow:
        try:
            return self._checked(line, number)
        except _Unusable as error:
            return self._maker.reject(number, str(error), line)

    def _checked(self, line: bytes, number: int) -> Row | RejectedRow:
        if b"\0" in line:
            raise _Unusable(NUL)
        try:
            row = _decode(line.decode(self._codec))
        except UnicodeDecodeError:
            raise _Unusable(invalid(self._encoding)) from None
        except (ValueError, RecursionError):
            raise _Unusable("invalid JSON") from None
        if not isinstance(row, dict):
            raise _Unusable("not a JSON object")
        columns = self._columns
        if columns.text not in row:
            raise _Unusable("no text field")
        text = row[columns.text]
        if text is None:
            raise _Unusable("null text")
        if not isinstance(text, str):
            raise _Unusable("text is not a string")
        _check(text)
        identifier = None if columns.id is None else _identifier(row.get(columns.id))
        extra: Extra = {name: kept(row.get(name)) for name in columns.keep} or None
        return self._maker.row(text, identifier, extra, number, line)


class _Unusable(Exception):
    """Why a row is rejected."""


def _check(value: str) -> str:
    reason = unstorable(value)
    if reason is not None:
        raise _Unusable(reason)
    return value


def _identifier(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unusable("id is neither a string nor a number")
    try:
        return _check(str(value))
    except ValueError:
        # Python writes no integers of more than 4,300 digits.
        raise _Unusable("id is neither a string nor a number") from None


def kept(value: Any) -> Value:
    """Return a value of a column that is kept: what is no plain value becomes its JSON."""
    if isinstance(value, str):
        return _check(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return _check(json.dumps(value, ensure_ascii=False))
