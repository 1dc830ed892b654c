"""What dead producers of a stream hold goes to a living one, and never what a living one holds."""

import re
import time
from collections.abc import Callable

from db.defaults import CHUNK_BYTES, SWEEP_SECONDS
from db.ledger.entries import ended_productions, shared_identity
from db.store import Store
from producer.redis_group import Delivered, StreamGroup

#: What the consumers of one ledger begin with: an id of 12 characters tells ledgers apart.
_LEDGER_CHARACTERS = 12

#: Foreign consumers that are named at the most.
_NAMED = 3


def consumer_name(ledger: str, job: int) -> str:
    """Return the name under which the producer of `job` reads: none other ever has it."""
    return f"{_prefix(ledger)}{job}"


def group_identity(group: StreamGroup, store: Store, ledger: str) -> str | None:
    """Return what this ledger's producers know the group by; None if none of them is in it.

    One server has many names; an entry that one producer entered must be known to all others.
    """
    jobs = [job for name in group.consumers() if (job := _job_of(name, ledger)) is not None]
    return store.retrying(lambda: shared_identity(store, jobs))


class Heir:
    """Takes over, for `consumer`, what producers of the same ledger left behind."""

    def __init__(
        self,
        group: StreamGroup,
        store: Store,
        ledger: str,
        consumer: str,
        *,
        warn: Callable[[str], None],
        every: float = SWEEP_SECONDS,
    ) -> None:
        self._group = group
        self._store = store
        self._ledger = ledger
        self._consumer = consumer
        self._warn = warn
        self._every = every
        self._next_look = 0.0
        self._dead: list[str] = []
        self._told = False

    def claimed(self, count: int) -> list[Delivered]:
        """Return entries of a dead producer, now ours; none, for a while, when there are none.

        A producer is dead when the ledger says so: its token is void, so that it enters nothing,
        even if it lives. An empty consumer of a dead producer is deleted.
        """
        if not self._dead and time.monotonic() >= self._next_look:
            self._dead = self._find_dead()
            self._next_look = time.monotonic() + self._every
        while self._dead:
            taken = self._group.claim(self._dead[0], self._consumer, count, CHUNK_BYTES)
            if taken:
                return taken
            self._group.delete(self._dead.pop(0))
        return []

    def _find_dead(self) -> list[str]:
        names = [name for name in self._group.consumers() if name != self._consumer]
        jobs = {name: _job_of(name, self._ledger) for name in names}
        self._tell_of_foreign([name for name, job in jobs.items() if job is None])
        ours = [job for job in jobs.values() if job is not None]
        ended = self._store.retrying(lambda: ended_productions(self._store, ours))
        return [name for name, job in jobs.items() if job in ended]

    def _tell_of_foreign(self, names: list[str]) -> None:
        if not names or self._told:
            return
        self._told = True
        more = len(names) - _NAMED
        named = ", ".join(map(repr, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        self._warn(
            f"group {self._group.address.group!r} has consumers that are not this ledger's ({named}); "
            "what they hold stays with them"
        )


def _prefix(ledger: str) -> str:
    return f"labelstream-{ledger[:_LEDGER_CHARACTERS]}-"


def _job_of(name: str, ledger: str) -> int | None:
    found = re.fullmatch(re.escape(_prefix(ledger)) + r"([1-9]\d{0,17})", name)
    return int(found[1]) if found else None
