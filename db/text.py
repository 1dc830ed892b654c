"""What is done to text before it is stored: a hash of it, and an escaped copy of a reject."""

import hashlib

from db.defaults import REJECT_RAW_CHARACTERS


def text_hash(text: str) -> str:
    """Return 128 bits of BLAKE2b of the text's UTF-8, in hex: the key of a text without an id."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def escaped_raw(text: str, limit: int = REJECT_RAW_CHARACTERS) -> str:
    """Return `text` with what some database cannot store written as an escape, cut at `limit`.

    NUL and lone surrogates become `\\x00` and `\\udXXX`; everything else stays as it is.
    """
    safe = text[:limit].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return safe[:limit]


def text_key(text: str) -> str:
    """Return what tells whether two texts are one: a hash of the text with plain white space."""
    return text_hash(" ".join(text.split()))


def utf8_bytes(text: str) -> int:
    """Return how many bytes the UTF-8 of `text` has."""
    # ASCII, the common case, is counted without encoding it.
    return len(text) if text.isascii() else len(text.encode())


def is_storable(text: str) -> bool:
    """Whether both databases can keep `text`: it has no NUL and no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
