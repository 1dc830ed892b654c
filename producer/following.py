"""The rows of a growing file, through its rotations and truncations, each once and in order."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from db.errors import UsageError
from producer.live_head import LiveHead, Prelude
from producer.live_rows import rows_from
from producer.rotation import Sibling, find, names_another, written_between
from producer.rows import Position, ReadingStopped, ReadOptions, RejectedRow, Row
from producer.tail import Tail, fingerprint

#: Seconds between two looks whether a name that means nothing means a file again.
_LOOK_SECONDS = 0.2

#: Bytes of one read while the head of a file is not known.
_HEAD_BYTES = 1 << 16

#: Files that were read lately, which are not read again whatever they are called now.
_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class FollowPosition:
    """A place between two rows, and the file in which it is."""

    offset: int = 0
    line: int = 0
    row: int = 0
    #: None where there is no file yet.
    inode: int | None = None
    #: Its fingerprint, see `Tail`.
    begins: str = ""
    #: The columns that are read, guessed at the first file or given.
    text_column: str | None = None
    id_column: str | None = None

    @classmethod
    def at_start(cls, path: str) -> "FollowPosition":
        """Return the place before the first row of the file that `path` names now, if any."""
        try:
            inode = os.stat(path).st_ino
        except OSError:
            return cls()
        return cls(inode=inode, begins=fingerprint(b"", 0))

    @classmethod
    def of(cls, position: Mapping[str, Any]) -> "FollowPosition":
        """Return the place that a job has recorded."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in position.items() if name in names})

    def to_json(self) -> dict[str, Any]:
        """Return it as a job records it."""
        return {"file": 0, **asdict(self)}


#: A row, the place after it, and the beginning of its file.
FollowedRow = tuple[Row | RejectedRow, FollowPosition, bytes]


def recorded(place: FollowPosition, beginning: bytes) -> dict[str, Any]:
    """Return `place` as a job records it, with what its file is known again by."""
    return replace(place, begins=fingerprint(beginning, place.offset)).to_json()


def refuse_wide(opened: LiveHead, name: str) -> None:
    """Raise `UsageError` for a file whose places are not those of its text."""
    encoding = opened.head.encoding
    if encoding.transcoded_from is not None:
        raise UsageError(
            f"{name} is {encoding.name}; --follow reads utf-8 and encodings of one byte a character"
        )


class Follower:
    """Reads what `path` means, from `start` on: its rest, then what came after it, then on and on.

    `tell` is told what a person should know, and `warn` when rows may have been missed.
    """

    def __init__(
        self,
        path: str,
        name: str,
        format_name: str,
        options: ReadOptions,
        *,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._name = name
        self._format = format_name
        self._options = options
        self._tell = tell
        self._warn = warn
        self._told: set[str] = set()
        self._read: deque[int] = deque(maxlen=_REMEMBERED)

    def rows(self, start: FollowPosition, drain: threading.Event) -> Iterator[FollowedRow]:
        """Yield the rows after `start`; raises `ReadingStopped` after a drain, else never ends.

        Raises `UsageError` for a file that cannot be read, is binary, or lacks a column.
        """
        if start.text_column is not None:
            self._options = replace(
                self._options, text_column=start.text_column, id_column=start.id_column
            )
        tail, place = self._begin(start, drain)
        try:
            while True:
                for found in self._rows_of(tail, place):
                    yield found
                    place = found[1]
                place = FollowPosition(row=place.row)
                if tail.truncated:
                    self._tell(f"{self._name} was truncated; it is read from its start")
                    tail.restart()
                    continue
                following = self._next(tail, drain)
                tail.close()
                tail = following
        finally:
            tail.close()

    def _rows_of(self, tail: Tail, start: FollowPosition) -> Iterator[FollowedRow]:
        opened = self._head(tail)
        if opened is None:
            return
        offset, line = max((start.offset, start.line), (opened.head.offset, opened.head.line))
        tail.seek(offset)
        columns = opened.columns
        begin = Position(0, offset, line, start.row)
        for row, place in rows_from(tail, opened, begin, self._name):
            after = FollowPosition(
                place.offset, place.line, place.row, tail.inode, "", columns.text, columns.id
            )
            yield row, after, tail.beginning

    def _head(self, tail: Tail) -> LiveHead | None:
        """Return what the file begins with; None for one that is over and empty."""
        prelude = Prelude(self._name, self._options, self._format)
        while True:
            prelude.add(tail.read(_HEAD_BYTES))
            if prelude.blank or (tail.truncated and self._format != "text"):
                return None
            opened = prelude.head()
            if opened is not None:
                break
        refuse_wide(opened, self._name)
        # The columns of the first file are those of all that follow.
        self._options = opened.options(self._options)
        for note in opened.notes:
            if note not in self._told:
                self._told.add(note)
                self._tell(note)
        return opened

    def _begin(self, start: FollowPosition, drain: threading.Event) -> tuple[Tail, FollowPosition]:
        """Return the file in which `start` is and `start`, or what comes after it and its beginning."""
        if start.inode is None:
            return self._named(drain), start
        while (found := find(self._path, start.inode)) is not None:
            tail = self._open(found, drain)
            if tail is None:
                # It was renamed at this moment.
                continue
            if tail.is_the_one(start.offset, start.begins):
                return tail, start
            tail.close()
            break
        self._warn(
            f"the file that was read as {self._name} is not there any more, or was truncated: rows "
            "that were written to it since may have been missed"
        )
        return self._named(drain), FollowPosition(row=start.row)

    def _next(self, done: Tail, drain: threading.Event) -> Tail:
        """Return what comes after a file that is over: what was rotated since, or what is named now."""
        self._read.append(done.inode)
        while True:
            between = self._unread(done)
            if not between:
                tail = self._named(drain)
                # What was rotated while it was opened comes before it.
                inodes = [each.inode for each in self._unread(done)]
                if not inodes or inodes[0] == tail.inode:
                    return tail
                tail.close()
                continue
            rotated = self._open(between[0], drain)
            if rotated is not None:
                return rotated

    def _unread(self, done: Tail) -> list[Sibling]:
        between = written_between(self._path, done.inode, done.modified)
        return [each for each in between if each.inode not in self._read]

    def _open(self, sibling: Sibling, drain: threading.Event) -> Tail | None:
        """Open a file that was found; None if its name means another one already."""
        try:
            tail = Tail(sibling.path, drain, self._is_replaced)
        except FileNotFoundError:
            return None
        if tail.inode == sibling.inode:
            return tail
        tail.close()
        return None

    def _named(self, drain: threading.Event) -> Tail:
        """Open what the name means, waiting until it means something."""
        waits = False
        while True:
            try:
                return Tail(self._path, drain, self._is_replaced)
            except FileNotFoundError:
                if not waits:
                    waits = True
                    self._tell(f"{self._name} is not there; it is waited for")
            if drain.wait(_LOOK_SECONDS):
                raise ReadingStopped

    def _is_replaced(self, inode: int) -> bool:
        return names_another(self._path, inode)
