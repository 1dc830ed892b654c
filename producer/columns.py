"""Which columns are read: named by the person, or guessed where there is one sensible choice."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from db.errors import UsageError
from producer.rows import ReadOptions

#: Names of columns that hold the text, in any case.
TEXT_NAMES = ("text", "tweet", "content", "message", "body")

#: Names of columns that hold the person's own id, in any case.
ID_NAMES = ("id", "tweet_id", "external_id", "uuid")

#: Columns that an error lists at the most.
_LISTED = 20

#: Characters of a column's name that an error shows at the most.
_SHOWN = 40

_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\S.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( \S.*)?"
)
_TRUTH = frozenset(("true", "false", "yes", "no", "null", "none", "nan", "na", "n/a"))


@dataclass(frozen=True)
class Columns:
    """The columns that are read."""

    text: str
    id: str | None = None
    keep: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is needed."""
        return tuple(dict.fromkeys((self.text, *([self.id] if self.id else []), *self.keep)))


def choose_columns(
    names: Sequence[str], texts: Sequence[str], options: ReadOptions, source: str
) -> tuple[Columns, list[str]]:
    """Return the columns to read, and what to say of those that were guessed.

    `names` are the columns there are, `texts` those of them whose values look like text. Raises
    `UsageError`, listing the columns, for one that is not there, is there twice, or cannot be
    guessed.
    """
    notes: list[str] = []
    identifier = options.id_column
    if identifier is None:
        identifier = _only(names, ID_NAMES)
        if identifier is not None and identifier != options.text_column:
            notes.append(f"id column {identifier!r} guessed by its name")
        else:
            identifier = None
    text = options.text_column
    if text is None:
        text, why = _guessed_text(names, texts, identifier, source)
        notes.insert(0, f"text column {text!r} guessed ({why})")
    columns = Columns(text, identifier, options.keep_columns)
    require_columns(columns, names, source)
    return columns, notes


def require_columns(columns: Columns, names: Sequence[str], source: str) -> None:
    """Raise `UsageError` unless each of `columns` is there exactly once."""
    for name in columns.all:
        there = names.count(name)
        if there > 1:
            raise UsageError(
                f"{source} has {there} columns named {name!r}; rename all but one of them"
            )
        if not there:
            close = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1)
            meant = next((each for each in names if close and each.lower() == close[0]), None)
            advice = f"; did you mean {meant!r}?" if meant is not None else ""
            raise UsageError(
                f"{source} has no column {name!r}; its columns are: {listed(names)}{advice}"
            )


def looks_like_text(values: Iterable[str]) -> bool:
    """Return whether some value is neither blank nor a number, a date or a truth value."""
    return any(_is_text(value.strip()) for value in values)


def listed(names: Sequence[str]) -> str:
    """Return column names for an error."""
    shown = ", ".join(_shown(name) for name in names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(name: str) -> str:
    # A file without a header has its first row there: no more of it than a name needs.
    name = name if len(name) <= _SHOWN else name[: _SHOWN - 3] + "..."
    return name if name.isprintable() else repr(name)


def _guessed_text(
    names: Sequence[str], texts: Sequence[str], identifier: str | None, source: str
) -> tuple[str, str]:
    by_name = _only(names, TEXT_NAMES)
    if by_name is not None:
        return by_name, "by its name"
    if len(names) == 1:
        return names[0], "the only column"
    candidates = [name for name in texts if name != identifier]
    if len(candidates) == 1 and not any(name.lower() in TEXT_NAMES for name in names):
        return candidates[0], "the only one with text"
    raise UsageError(
        f"{source}: which column holds the text cannot be told; "
        f"its columns are: {listed(names)}; name one: --text-column NAME"
    )


def _only(names: Sequence[str], known: Sequence[str]) -> str | None:
    found = [name for name in names if name.lower() in known]
    return found[0] if len(found) == 1 else None


def _is_text(value: str) -> bool:
    if not value or value.lower() in _TRUTH or _DATE.fullmatch(value):
        return False
    try:
        float(value.replace(",", ""))
    except ValueError:
        return True
    return False
