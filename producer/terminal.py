"""What may be shown on a terminal: nothing in a text may move its cursor or change its colours."""

import io
import json
import sys
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING

from producer.output_file import standard_output

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

#: Controls, invisible formatting (such as right-to-left overrides), line and paragraph
#: separators, surrogates.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Cs"}

#: The joiners inside emoji and Persian words: invisible, but they only change how neighbours look.
_JOINERS = {"\u200c", "\u200d"}

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

#: Columns of output that goes into a file or a pipe: wide enough that no table is folded.
_WIDTH_ELSEWHERE = 240


def visible(text: str, limit: int | None = None) -> str:
    """Return `text` on one line with every control character as an escape, cut at `limit`.

    An escape sequence becomes `\\x1b[31m`, a line break `\\n`, a right-to-left override `\\u202e`.
    """
    cut = limit is not None and len(text) > limit
    shown = text[:limit] if cut else text
    if not shown.isprintable():
        shown = "".join(_visible(character) for character in shown)
    return shown + "…" if cut else shown


def plain(text: str, limit: int | None = None) -> "Text":
    """Return `text` made visible, as a renderable in which nothing is taken for markup."""
    from rich.text import Text

    return Text(visible(text, limit))


def rendered(view: "RenderableType") -> str:
    """Return `view` as stdout shows it: with colours only where that is a terminal."""
    from rich.console import Console

    at_terminal = sys.stdout.isatty()
    text = io.StringIO()
    Console(
        file=text,
        force_terminal=at_terminal,
        width=None if at_terminal else _WIDTH_ELSEWHERE,
        highlight=False,
        markup=False,
        emoji=False,
    ).print(view)
    return "\n".join(line.rstrip() for line in text.getvalue().split("\n"))


def show(view: "RenderableType") -> None:
    """Print `view` on stdout.

    Raises `UsageError` if stdout cannot be written.
    """
    _write(rendered(view))


def show_json(found: object) -> None:
    """Print `found` on stdout as one line of JSON.

    Raises `UsageError` if stdout cannot be written.
    """
    _write(json.dumps(found, ensure_ascii=False) + "\n")


def counted(number: int, thing: str) -> str:
    """Return `1 row` or `1,996 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def moment(time: datetime | None) -> str:
    """Return a UTC time to the second, or a dash."""
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def _write(text: str) -> None:
    with standard_output() as stream:
        stream.write(text.encode())


def _visible(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
