"""The texts of a chunk into ids; a text that its encoder cannot bear is told by name."""

import logging
from collections.abc import Callable, Sequence

from worker.encoder import EncodedRows

log = logging.getLogger(__name__)


def tokenise(
    encode: Callable[[list[str]], EncodedRows], texts: Sequence[str]
) -> tuple[EncodedRows, dict[int, str]]:
    """Return the ids of `texts`, and why a text has none, by its place.

    Such a text is one on which `encode` fails by itself; it has the ids of an empty text instead.
    Raises what `encode` raises for an empty text.
    """
    try:
        return encode(list(texts)), {}
    # An encoder of Rust that panics raises what is no Exception.
    except BaseException as error:  # noqa: BLE001
        log.warning("a chunk could not be tokenised (%s); row by row", type(error).__name__)
    refused: dict[int, str] = {}
    for place, text in enumerate(texts):
        try:
            encode([text])
        except BaseException as error:  # noqa: BLE001
            refused[place] = f"tokeniser error: {type(error).__name__}"
    bearable = ["" if place in refused else text for place, text in enumerate(texts)]
    return encode(bearable), refused
