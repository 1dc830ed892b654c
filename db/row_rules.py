"""What makes a row one that can be labelled: the rules, and their words, of every way in."""

#: Longest external id, in characters.
MAX_ID_CHARACTERS = 1000

ID_TOO_LONG = f"id over {MAX_ID_CHARACTERS:,} characters"
EMPTY = "empty text"
NUL = "NUL character"
SURROGATE = "lone surrogate"
ROW_TOO_LONG = "row over 16 MB"


def unlabelable(text: str, external_id: str | None) -> str | None:
    """Return why a row whose values can be stored is rejected all the same; None if it is not."""
    if not text or text.isspace():
        return EMPTY
    if external_id is not None and len(external_id) > MAX_ID_CHARACTERS:
        return ID_TOO_LONG
    return None


def unstorable(value: str) -> str | None:
    """Return why a database cannot store `value`: NUL, or half of a surrogate pair."""
    if "\0" in value:
        return NUL
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return SURROGATE
    return None
