"""Where the files are that a name meant before: found again by inode and beginning."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: How rotated files are called: the name, then a number or a date.
_ROTATED = r"[.-](?P<mark>\d[\dT:_.+-]*)"

#: Digits of the largest number that counts rotations; more are a date.
_COUNTER_DIGITS = 4


@dataclass(frozen=True)
class Sibling:
    """A regular file beside the one that is followed, under a name like its own."""

    path: str
    inode: int
    modified: int
    #: Order among files that were written last at the same moment, the newest last; None where
    #: the name is not that of a rotated file.
    rank: tuple[int, str] | None


def names_another(path: str, inode: int) -> bool:
    """Whether `path` names a regular file that is not `inode`."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_ino != inode and stat.S_ISREG(status.st_mode)


def siblings(path: str) -> list[Sibling]:
    """Return the files beside `path` whose names begin as its own, `path` itself among them."""
    return list(_siblings(path))


def written_between(path: str, inode: int, modified: int) -> list[Sibling]:
    """Return the rotated files that were written after the file `inode` and before `path` is, in order.

    `modified` is when that file was written last.
    """
    beside = siblings(path)
    ranks = [each.rank for each in beside if each.inode == inode and each.rank is not None]
    after = (modified, ranks[0] if ranks else (0, ""))
    rotated = [
        (each.modified, each.rank, each)
        for each in beside
        if each.rank is not None and each.inode != inode
    ]
    return [each for moment, rank, each in sorted(rotated, key=_order) if (moment, rank) > after]


def _order(found: tuple[int, tuple[int, str], Sibling]) -> tuple[int, tuple[int, str]]:
    return found[0], found[1]


def _siblings(path: str) -> Iterator[Sibling]:
    folder, base = os.path.split(path)
    stem = Path(base).stem
    rotated = re.compile(re.escape(base) + _ROTATED)
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return
    for name in entries:
        if not name.startswith(stem):
            continue
        beside = os.path.join(folder, name)
        try:
            status = os.stat(beside)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found = rotated.fullmatch(name)
            rank = _rank(found["mark"]) if found else None
            yield Sibling(beside, status.st_ino, status.st_mtime_ns, rank)


def _rank(mark: str) -> tuple[int, str]:
    if mark.isdecimal() and len(mark) <= _COUNTER_DIGITS:
        # The higher the number, the older the file.
        return -int(mark), ""
    return 0, mark
