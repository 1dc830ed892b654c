"""What a member tells the keeper that it starts, and what both know about its end."""

import json
from dataclasses import asdict, dataclass

#: Seconds that the worker has to finish its micro-batch and hand back what it has not begun.
WORKER_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a keeper is told; the environment of its children comes beside it."""

    home: str
    redis: str
    worker_command: list[str]

    def to_wire(self) -> bytes:
        """Return the plan as it goes through the pipe."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_wire(cls, wire: bytes) -> "Plan":
        """Read a plan that `to_wire` wrote."""
        return cls(**json.loads(wire))
