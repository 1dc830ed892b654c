"""Where the files are that a name meant before: found again by inode and beginning."""

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

#: How rotated files are called: the name, then a number or a date.
_ROTATED = r"[.-](?P<mark>\d[\dT:_.+-]*)"

#: How often it is looked again in the middle of a rotation, and seconds between two looks.
_LOOKS = 5
_PAUSE_SECONDS = 0.02

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
    """Return the files beside `path` whose names begin as its own, `path` itself among them.

    Looked at again while names change under the look, as they do in the middle of a rotation.
    """
    found: list[Sibling] = []
    for _ in range(_LOOKS):
        found, is_whole = _look(path)
        if is_whole:
            break
        time.sleep(_PAUSE_SECONDS)
    return found


def find(path: str, inode: int) -> Sibling | None:
    """Return the file `inode` beside `path`, whatever it is called by now; None if it is nowhere."""
    for _ in range(_LOOKS):
        for each in siblings(path):
            if each.inode == inode:
                return each
        # Between two names a file may be missed: the name that it gets was looked at before.
        time.sleep(_PAUSE_SECONDS)
    return None


def written_between(path: str, inode: int, modified: int) -> list[Sibling]:
    """Return the rotated files that were written after the file `inode` and before `path` is, in order.

    `modified` is when that file was written last; told by its name where it is still there.
    """
    beside = siblings(path)
    own = [each for each in beside if each.inode == inode]
    after = _order(own[0]) if own else (modified, (0, ""))
    rotated = [each for each in beside if each.rank is not None and each.inode != inode]
    return [each for each in sorted(rotated, key=_order) if _order(each) > after]


def _order(sibling: Sibling) -> tuple[int, tuple[int, str]]:
    return sibling.modified, sibling.rank or (0, "")


def _look(path: str) -> tuple[list[Sibling], bool]:
    """Return the siblings that could be looked at, and whether no name vanished meanwhile."""
    folder, base = os.path.split(path)
    stem = Path(base).stem
    rotated = re.compile(re.escape(base) + _ROTATED)
    found: list[Sibling] = []
    is_whole = True
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return found, True
    for name in names:
        if not name.startswith(stem):
            continue
        beside = os.path.join(folder, name)
        try:
            status = os.stat(beside)
        except FileNotFoundError:
            # A link that leads nowhere is no sign of a rotation.
            is_whole &= os.path.islink(beside)
            continue
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            match = rotated.fullmatch(name)
            rank = _rank(match["mark"]) if match else None
            found.append(Sibling(beside, status.st_ino, status.st_mtime_ns, rank))
    return found, is_whole


def _rank(mark: str) -> tuple[int, str]:
    if mark.isdecimal() and len(mark) <= _COUNTER_DIGITS:
        # The higher the number, the older the file.
        return -int(mark), ""
    return 0, mark
