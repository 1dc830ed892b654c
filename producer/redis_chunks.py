"""The entries of a Redis stream as chunks: read when they are asked for, and acknowledged when safe."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from db.ledger.entries import Entry
from db.ledger.producing import JobWriter
from db.tries import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from producer.feeding import NewChunk
from producer.live import Pace
from producer.redis_group import AWAY, Delivered, StreamGroup, is_away, is_gone
from producer.redis_heirs import Heir
from producer.redis_rows import EntryMaker
from producer.rows import SourceError
from worker.outbox import broker_error

#: What Redis is asked for: entries that were delivered to nobody, or our own from the first on.
_NEW = ">"
_OWN = "0"

#: Seconds for which one read waits at Redis, so that a drain is noticed and the job looked after.
_READ_SECONDS = 0.25

#: Bytes that an entry is taken to have before the first ones came.
_FIRST_GUESS_BYTES = 65_536

#: Seconds for which an acknowledgement is tried after a drain.
_DRAIN_SECONDS = 5.0

#: Seconds: notes of a group that begins anew which are younger may be of entries of its new life.
_NEW_LIFE_SECONDS = 60.0


class SourceOutage:
    """How long a Redis that is away is tried again: said once, and given up after the patience."""

    def __init__(self, name: str, patience: float, warn: Callable[[str], None]) -> None:
        self._name = name
        self._patience = patience
        self._warn = warn
        self._since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS

    def failed(self, error: Exception) -> float:
        """Return for how many seconds to wait; raises `SourceError` when it was long enough."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._pause = now, FIRST_PAUSE_SECONDS
            self._warn(
                f"{self._name} is away ({broker_error(error)}); trying again for "
                f"{self._patience:.0f} s; what it has not delivered waits there"
            )
        lasted = now - self._since
        if lasted + self._pause > self._patience:
            raise SourceError(
                f"{self._name} was away for {lasted:.0f} s ({broker_error(error)}); see that it "
                "runs; what was not read is still there for the next producer"
            ) from None
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause

    def over(self) -> None:
        """Be told that Redis answered."""
        if self._since is not None:
            self._since = None
            self._warn(f"{self._name} answers again")


@dataclass(frozen=True)
class EntryChunk:
    """Some entries that were delivered."""

    entries: Sequence[Entry]
    #: What is acknowledged: the entries, and those that are no more in the stream.
    ids: Sequence[str]
    enter: Callable[[JobWriter, Sequence[Entry]], int | None]
    acknowledge: Callable[[Sequence[str]], None]

    def add(self, writer: JobWriter) -> int | None:
        """Commit what the ledger does not have yet."""
        return self.enter(writer, self.entries)

    def settle(self) -> None:
        """Let Redis deliver them no more."""
        self.acknowledge(self.ids)


class EntryChunks:
    """The chunks of one job; nothing is read beyond the chunk that was asked for.

    Iterating gives None at least a few times a second while nothing comes. It ends after a drain,
    or when `limit` rows are entered. `new_life` says that the group was made for this job.
    """

    #: Rows that were read and would be lost with this process: what Redis delivered, it keeps.
    unentered = 0

    def __init__(
        self,
        group: StreamGroup,
        source: str,
        consumer: str,
        maker: EntryMaker,
        heir: Heir,
        outage: SourceOutage,
        pace: Pace,
        drain: threading.Event,
        *,
        limit: int | None,
        new_life: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._group = group
        self._source = source
        self._consumer = consumer
        self._maker = maker
        self._heir = heir
        self._outage = outage
        self._pace = pace
        self._drain = drain
        self._left = limit
        self._new_life = new_life
        self._warn = warn
        self._after = _NEW
        self._unsure = False
        self._waiting: deque[Delivered] = deque()
        self._held: list[Delivered] = []
        self._size = 0
        self._until = float("inf")
        self._typical = _FIRST_GUESS_BYTES
        self._writer: JobWriter | None = None
        self._joined = False
        self._said_gone = False

    @property
    def left(self) -> int | None:
        """Rows that may still be entered; None: any number."""
        return self._left

    def __iter__(self) -> Iterator[NewChunk | None]:
        """Yield chunks; to be called once."""
        while self._left is None or self._left > 0:
            if self._drain.is_set() and not self._waiting:
                break
            yield self._next()
        self._leave()

    def _next(self) -> NewChunk | None:
        try:
            if not self._joined:
                self._group.join(self._consumer)
                self._joined = True
            delivered = [] if self._drain.is_set() else self._heir.claimed(self._most_rows())
            if not delivered:
                self._collect()
                delivered = self._let_go()
            self._outage.over()
        except (RedisError, OSError) as error:
            # The answer may have been lost, and with it what it delivered to us.
            self._unsure = True
            self._fill()
            delivered = self._let_go()
            if not delivered:
                self._recover(error)
        return self._chunk(delivered) if delivered else None

    def _recover(self, error: Exception) -> None:
        if is_gone(error):
            self._begin_anew()
        elif is_away(error):
            self._drain.wait(self._outage.failed(error))
        else:
            raise self._unreadable(error) from None

    def _begin_anew(self) -> None:
        try:
            made = self._group.make()
            self._joined = False
        except AWAY as error:
            self._drain.wait(self._outage.failed(error))
            return
        except RedisError as error:
            raise self._unreadable(error) from None
        self._new_life = self._new_life or made
        if made and not self._said_gone:
            self._said_gone = True
            self._warn(
                f"{self._group.address} was gone and is made again; "
                "it begins with the first entry that the stream has now"
            )

    def _collect(self) -> None:
        """Hold the entries of one chunk: full, large enough, or as many as come in time."""
        while True:
            self._fill()
            if self._unsure:
                if self._held:
                    # First this is entered and acknowledged, so that we are not given it again.
                    return
                self._after, self._unsure = _OWN, False
            left = self._until - time.monotonic()
            if self._is_full() or left <= 0 or self._drain.is_set():
                return
            self._read(self._most_rows() - len(self._held), self._pace.bytes - self._size, left)
            if not self._waiting and not self._held:
                return

    def _fill(self) -> None:
        """Take from what waits until the chunk is full."""
        while self._waiting and not self._is_full():
            entry = self._waiting.popleft()
            self._held.append(entry)
            self._size += entry.size
            self._until = min(self._until, time.monotonic() + self._pace.seconds)

    def _is_full(self) -> bool:
        return len(self._held) >= self._most_rows() or self._size >= self._pace.bytes

    def _let_go(self) -> list[Delivered]:
        held = self._held
        self._held, self._size, self._until = [], 0, float("inf")
        return held

    def _read(self, rows: int, size: int, seconds: float) -> None:
        # Redis delivers by number, memory is taken by bytes: large entries are asked for one by one.
        count = min(rows, max(size // self._typical, 1))
        entries = self._group.read(self._consumer, self._after, count, min(seconds, _READ_SECONDS))
        self._waiting.extend(entries)
        if entries:
            self._typical = max(max(entry.size for entry in entries), 1)
        if self._after != _NEW:
            self._after = entries[-1].id if entries else _NEW

    def _most_rows(self) -> int:
        return self._pace.rows if self._left is None else min(self._pace.rows, self._left)

    def _chunk(self, delivered: Sequence[Delivered]) -> NewChunk:
        entries = [self._maker.entry(one) for one in delivered if one.fields]
        return EntryChunk(entries, [one.id for one in delivered], self._enter, self._settle)

    def _enter(self, writer: JobWriter, entries: Sequence[Entry]) -> int | None:
        self._writer = writer
        if self._new_life:
            # What was noted in the life before were other entries, perhaps with the same ids.
            writer.forget_entries_before(self._source, _NEW_LIFE_SECONDS)
            self._new_life = False
        entered = writer.add_entries(self._source, entries)
        if self._left is not None:
            self._left -= entered.rows
        return entered.number

    def _settle(self, ids: Sequence[str]) -> None:
        if self._acknowledge(ids) and self._writer is not None:
            self._writer.forget_entries(self._source, ids)

    def _acknowledge(self, ids: Sequence[str]) -> bool:
        until = float("inf")
        while True:
            try:
                self._group.acknowledge(ids)
                self._outage.over()
                return True
            except (RedisError, OSError) as error:
                if not is_away(error):
                    raise self._unreadable(error) from None
                pause = self._outage.failed(error)
            if self._drain.is_set():
                until = min(until, time.monotonic() + _DRAIN_SECONDS)
            if time.monotonic() + pause > until:
                self._warn(
                    f"{len(ids)} entries are in the database and could not be acknowledged; "
                    "the next producer of the group does that and enters none of them again"
                )
                return False
            time.sleep(pause)

    def _leave(self) -> None:
        try:
            self._group.delete(self._consumer)
        except (RedisError, OSError):
            # The next producer deletes it.
            return

    def _unreadable(self, error: Exception) -> SourceError:
        return SourceError(f"{self._group.address} cannot be read: {broker_error(error)}")
