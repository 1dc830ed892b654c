"""Imported by every Python process of the poison tests: rows that the engine `text-hash` cannot bear.

A text that begins with `poison` makes the engine do what its second word says: raise, abort the
process, or hang in native code.
"""

import ctypes
import os
import resource
from typing import Any

from worker.engines.text_hash import TextHashEngine

_bearable = TextHashEngine.logits


def _abort() -> None:
    # The death is what is wanted, not its picture.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def _hang() -> None:
    # It keeps the interpreter's lock: no other thread of the process does anything any more.
    ctypes.PyDLL(None).sleep(3600)


def _raise() -> None:
    raise RuntimeError("poison")


_WORK = {"raise": _raise, "abort": _abort, "hang": _hang}


def _logits(self: TextHashEngine, input_ids: Any, attention_mask: Any) -> Any:
    for ids, mask in zip(input_ids, attention_mask, strict=True):
        text = bytes(ids[: int(mask.sum())].tolist()).decode()
        if text.startswith("poison "):
            _WORK[text.split()[1]]()
    return _bearable(self, input_ids, attention_mask)


TextHashEngine.logits = _logits  # type: ignore[method-assign]
