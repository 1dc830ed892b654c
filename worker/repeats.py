"""Equal rows, of which one is computed for all of them, and none that is remembered."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worker.computing import Computed, compute
from worker.encoder import EncodedRows
from worker.engines.protocol import Engine, Logits
from worker.remembered import VersionMemory


def row_keys(rows: EncodedRows) -> list[bytes]:
    """Return what tells rows apart: the bytes of their ids.

    The bytes themselves, not a digest of them: they cannot collide, and those of a tweet (22
    tokens, 88 bytes) are cut and compared in less time than a digest takes. Equal ids have equal
    logits, whatever the texts were.
    """
    flat = rows.ids.tobytes()
    places = (rows.offsets * rows.ids.itemsize).tolist()
    return [flat[start:stop] for start, stop in pairwise(places)]


@dataclass(frozen=True)
class Plan:
    """Which of some rows are computed, and which get the logits of others."""

    #: Rows that are computed, ascending.
    todo: list[int]
    #: Rows whose logits were remembered.
    remembered: list[int]
    #: Rows that stand for others: row `copies[n]` gets what row `firsts[n]` has.
    copies: list[int]
    firsts: list[int]

    def spread(self, logits: Logits, rejected: dict[int, str]) -> None:
        """Give every copy what became of its first: logits (float32 [rows, labels]) or a reason."""
        if not self.copies:
            return
        logits[self.copies] = logits[self.firsts]
        if rejected:
            for copy, first in zip(self.copies, self.firsts, strict=True):
                if first in rejected:
                    rejected[copy] = rejected[first]


def all_of(rows: int) -> Plan:
    """Return the plan by which every row is computed, repeated or not."""
    return Plan(list(range(rows)), [], [], [])


def plan(keys: Sequence[bytes], memory: VersionMemory, logits: Logits) -> Plan:
    """Return what is to be done for rows with these keys.

    The logits of those that are remembered are written into `logits`, float32 [rows, labels]. They
    are those of the row's first time: on an engine whose last digits depend on a row's neighbours
    in the micro-batch (int8, bf16), computing it again might give others.
    """
    places: dict[bytes, int] = {}
    first = [places.setdefault(key, place) for place, key in enumerate(keys)]
    found = memory.find(places)
    todo: list[int] = []
    remembered: list[int] = []
    for place, known in zip(places.values(), found, strict=True):
        (todo if known is None else remembered).append(place)
    if remembered:
        known_bytes = b"".join(known for known in found if known is not None)
        logits[remembered] = np.frombuffer(known_bytes, np.float32).reshape(len(remembered), -1)
    copies = []
    if len(places) < len(keys):
        copies = [place for place, other in enumerate(first) if place != other]
    return Plan(todo, remembered, copies, [first[place] for place in copies])


def compute_once(
    engine: Engine,
    rows: EncodedRows,
    keys: Sequence[bytes] | None,
    memory: VersionMemory,
    labels: int,
    around: Callable[[], AbstractContextManager[None]],
) -> tuple[Computed, Plan]:
    """Do as `compute` does, with one row of each key, and none that is remembered by now.

    Of what was computed everything is remembered but what was rejected. Without `keys` every row
    is computed.
    """
    if keys is None:
        return compute(engine, rows, labels, around), all_of(len(rows))
    logits = np.zeros((len(rows), labels), dtype=np.float32)
    planned = plan(keys, memory, logits)
    rejected: dict[int, str] = {}
    todo = planned.todo
    if todo:
        once = rows if len(todo) == len(rows) else rows.taken(np.asarray(todo))
        computed = compute(engine, once, labels, around)
        logits[todo] = computed.logits
        rejected = {todo[place]: reason for place, reason in computed.rejected.items()}
        _keep(memory, keys, [place for place in todo if place not in rejected], logits)
    planned.spread(logits, rejected)
    return Computed(logits, rejected), planned


def _keep(
    memory: VersionMemory, keys: Sequence[bytes], places: Sequence[int], logits: Logits
) -> None:
    width = logits.shape[1] * logits.itemsize
    flat = logits.tobytes()
    rows = [(keys[place], flat[place * width : (place + 1) * width]) for place in places]
    for place, known in zip(places, memory.keep(rows), strict=False):
        if known is not None:
            # A micro-batch beside this one had the same row, and was faster: it has those logits.
            logits[place] = np.frombuffer(known, np.float32)
