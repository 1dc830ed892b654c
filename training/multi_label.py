"""Data with a list of labels a row: recognised, and refused for now."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection

from db.errors import UsageError

#: The column that multi-label data sets keep their lists in.
LIST_COLUMN = "labels"

#: Text longer than this is no list of labels, and is not parsed to find out.
MAX_LIST_CHARACTERS = 10_000

#: What NumPy writes for a vector, such as `[0 1 0]`.
_NUMBERS = re.compile(r"\[\s*(\d+\.?\s*)+\]")


def holds_several(label: object) -> bool:
    """Whether `label` is a list of labels: a list, or text that is one in JSON, Python or NumPy.

    Text in brackets that is no list, such as `[x]`, is a label like any other.
    """
    if isinstance(label, str):
        return _is_written_list(label.strip())
    # Lists and tuples of a file; vectors and tensors with a dimension of their own.
    return isinstance(label, list | tuple | set) or bool(getattr(label, "shape", ()))


def multi_label_error(where: str, label: object) -> UsageError:
    """Return the error that refuses the row at `where`, whose labels are `label`."""
    count = f" ({len(label)} labels)" if isinstance(label, Collection) and _is_list(label) else ""
    return UsageError(
        f"{where} holds a list of labels{count}: multi-label data cannot be trained on yet; "
        "give one label a row, in the column label"
    )


def _is_list(label: object) -> bool:
    return isinstance(label, list | tuple | set)


def _is_written_list(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")) or len(text) > MAX_LIST_CHARACTERS:
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            return isinstance(read(text), list)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return _NUMBERS.fullmatch(text) is not None
