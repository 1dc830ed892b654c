"""The queue's message: which chunk of which ledger, and nothing of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from db.defaults import MESSAGE_VERSION

#: The task's name on the wire.
LABEL_CHUNK = "labelstream.label_chunk"

#: Versions of the message that this worker takes: its own and the one before.
_KNOWN_VERSIONS = (MESSAGE_VERSION, MESSAGE_VERSION - 1)

#: The largest number of a job or a chunk that both databases can be asked for.
_LARGEST = 2**63 - 1


class MessageRefusedError(Exception):
    """A message that this worker cannot or must not act on."""


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """Names one chunk; SQL has everything else."""

    ledger: str
    job: int
    chunk: int
    v: int = MESSAGE_VERSION

    def to_wire(self) -> dict[str, Any]:
        """Return the message as the JSON object that travels."""
        return {"ledger": self.ledger, "job": self.job, "chunk": self.chunk, "v": self.v}

    @classmethod
    def from_wire(cls, wire: object) -> "ChunkMessage":
        """Read a message.

        Raises `MessageRefusedError` for one that is malformed or of an unknown version.
        """
        if not isinstance(wire, Mapping):
            raise MessageRefusedError("the message is no object")
        version, ledger, job, chunk = (wire.get(key) for key in ("v", "ledger", "job", "chunk"))
        if not _is_number(version) or version not in _KNOWN_VERSIONS:
            raise MessageRefusedError("the message's version is not one that this worker knows")
        if not isinstance(ledger, str) or not _is_number(job) or not _is_number(chunk):
            raise MessageRefusedError("the message does not name a ledger, a job and a chunk")
        return cls(ledger, job, chunk, version)


def _is_number(value: object) -> TypeGuard[int]:
    # True is an int to Python, and a database's integers have an end.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
