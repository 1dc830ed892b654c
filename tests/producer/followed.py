"""A file that is followed in a thread, for tests."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from producer.following import Follower, FollowPosition, recorded
from producer.rows import ReadingStopped, ReadOptions, Row
from tests.cluster import wait_until


class Following:
    """Reads `path` on and on from a recorded position, and keeps what it read and was told."""

    #: Those that read; a test's end stops them.
    reading: ClassVar[list["Following"]] = []

    def __init__(
        self,
        path: Path,
        position: dict[str, Any] | None = None,
        *,
        format_name: str = "text",
        **options: Any,
    ) -> None:
        self.items: list[str] = []
        self.numbers: list[int] = []
        self.told: list[str] = []
        self.warned: list[str] = []
        self.error: BaseException | None = None
        self._positions = [position or FollowPosition.at_start(str(path)).to_json()]
        self._drain = threading.Event()
        follower = Follower(
            str(path),
            path.name,
            format_name,
            ReadOptions(**options),
            tell=self.told.append,
            warn=self.warned.append,
        )
        self._thread = threading.Thread(target=self._run, args=(follower,), daemon=True)
        self._thread.start()
        self.reading.append(self)

    def _run(self, follower: Follower) -> None:
        try:
            for row, place, beginning in follower.rows(
                FollowPosition.of(self._positions[0]), self._drain
            ):
                self._positions.append(recorded(place, beginning))
                self.numbers.append(row.row_number)
                self.items.append(row.text if isinstance(row, Row) else f"({row.reason})")
        except ReadingStopped:
            return
        except BaseException as error:  # noqa: BLE001  (looked at by the test)
            self.error = error

    def wait_for(self, *items: str) -> None:
        """Wait until just these texts and rejects were read."""

        def there() -> bool:
            assert self.error is None, self.error
            return len(self.items) >= len(items)

        wait_until(there, 60, f"{len(items)} rows, after {self.items}")
        assert self.items == list(items)

    def wait_to_be_told(self, words: str) -> None:
        wait_until(lambda: any(words in line for line in self.told), 60, words)

    def wait_for_error(self) -> str:
        return str(wait_until(lambda: self.error, 60, "an error"))

    def stop(self, after: int | None = None) -> dict[str, Any]:
        """Stop reading; return the position, or the one after so many rows, as a kill leaves it."""
        self._drain.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        return self._positions[-1 if after is None else after]


def stop_all() -> None:
    """Stop those that still read."""
    while Following.reading:
        Following.reading.pop().stop()


def append(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("a", newline="") as file:
        file.write("".join(line + end for line in lines))


def rotate(path: Path, kept: int = 3) -> None:
    """Rename as logrotate does: `path.2` to `path.3`, `path.1` to `path.2`, `path` to `path.1`."""
    for number in range(kept, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))
    let_the_clock_move(path.parent)


def let_the_clock_move(folder: Path) -> None:
    """Wait until a file that is written now is younger than all: file systems tell time in steps."""
    newest = max(beside.stat().st_mtime_ns for beside in folder.iterdir())
    probe = folder / "clock"

    def has_moved() -> bool:
        probe.write_text("")
        return probe.stat().st_mtime_ns > newest

    wait_until(has_moved, 10, "the clock moves")
    probe.unlink()


def numbered(first: int, last: int) -> Sequence[str]:
    return [f"line {number}" for number in range(first, last + 1)]
