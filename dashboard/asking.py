"""What a browser asks for, read from its words; wrong ones are told in one line."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from db.defaults import LARGEST_NUMBER
from db.errors import UsageError
from db.text import is_storable

#: Characters of a word that is searched for, or of a name or a reason.
LONGEST_WORDS = 500


def is_part(request: Request) -> bool:
    """Whether a script asks for a part of a page that is shown already."""
    return request.headers.get("x-part") == "1"


def words(given: Mapping[str, Any], name: str) -> str:
    """Return what is asked for without blanks around it; "" where nothing is.

    Raises `UsageError` for words that no database can keep, or that are too long.
    """
    value = str(given.get(name, "")).strip()
    if not is_storable(value) or len(value) > LONGEST_WORDS:
        raise UsageError(
            f"{name} has more than {LONGEST_WORDS} characters, or what cannot be stored"
        )
    return value


def whole(
    asked: Mapping[str, Any],
    name: str,
    default: int,
    least: int = 0,
    most: int = LARGEST_NUMBER,
) -> int:
    """Return the whole number that is asked for; raises `UsageError` for another value."""
    given = str(asked.get(name, "")).strip()
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise UsageError(f"{name} is no whole number: {given[:40]!r}")
    number = int(given)
    if not least <= number <= most:
        raise UsageError(f"{name} must be from {least} to {most}, and is {number}")
    return number


def fraction(asked: Mapping[str, Any], name: str) -> float | None:
    """Return the number from 0 to 1 that is asked for, if one is; raises `UsageError` for another."""
    given = str(asked.get(name, "")).strip()
    if not given:
        return None
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise UsageError(f"{name} is no number from 0 to 1: {given[:40]!r}")
    return number
