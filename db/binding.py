"""Many values for statements that bind only some of them."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")

#: Values bound in one statement.
AT_ONCE = 500


def portions(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield `values` in parts that one statement may bind."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]
