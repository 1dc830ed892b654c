"""What a person sees while a job runs: lines and a progress bar, all on stderr."""

import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

from db.ledger.rates import Flow
from db.ledger.totals import JobTotals
from producer.stream_status import flow_words

#: Seconds between two lines of progress where stderr is no terminal.
_LINE_SECONDS = 10.0

#: The same of a source that has no end, whose lines may go into a log for months.
_STREAM_LINE_SECONDS = 60.0

#: Labels shown in the mix while a job runs.
_MIX_LABELS = 4


class Screen(AbstractContextManager["Screen"]):
    """Stderr: a bar at a terminal, a line now and then elsewhere, and words of ours as one line."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started: float | None = None
        self._labeled_before = 0
        self._next_line = 0.0
        self._mix: Mapping[str, int] = {}

    @property
    def shows_progress(self) -> bool:
        """Whether somebody looks at the bar; the label mix is fetched only then."""
        return not self._quiet and self._console.is_terminal

    def say(self, line: str) -> None:
        """Tell something worth knowing."""
        if not self._quiet:
            self._console.print(Text(line), soft_wrap=True)

    def warn(self, line: str) -> None:
        """Tell something that a person should look at, also when quiet."""
        self._console.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)

    def update(
        self, totals: JobTotals, mix: Mapping[str, int], read: tuple[int, int | None]
    ) -> None:
        """Show the counts of the running job; `read` is bytes read of all bytes."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._started is None:
            self._started = now
            self._labeled_before = totals.labeled + totals.rejected
            self._next_line = now + _LINE_SECONDS
        finished = totals.labeled + totals.rejected
        rate = (finished - self._labeled_before) / max(now - self._started, 1e-9)
        expected = _expected_rows(totals, read)
        words = f"{finished:,} rows, {rate:,.0f} rows/s"
        if expected and rate > 0:
            words += f", {_duration((expected - finished) / rate)} left"
        if totals.rejected:
            words += f", {totals.rejected:,} rejected"
        if self.shows_progress:
            self._show_bar(finished, expected, words, mix)
        elif now >= self._next_line:
            self._next_line = now + _LINE_SECONDS
            self._console.print(Text(words), soft_wrap=True)

    def update_stream(self, totals: JobTotals, flows: Flow) -> None:
        """Show how a job flows whose source has no end; elsewhere than at a terminal, its changes."""
        if self._quiet:
            return
        words = flow_words(totals, flows)
        if self.shows_progress:
            self._show_bar(totals.rows, None, words, {}, ends=False)
            return
        now = time.monotonic()
        if self._started is None:
            self._started = now
            self._next_line = now + _STREAM_LINE_SECONDS
        finished = totals.labeled + totals.rejected
        if now >= self._next_line and (finished != self._labeled_before or totals.waiting):
            self._labeled_before = finished
            self._next_line = now + _STREAM_LINE_SECONDS
            self._console.print(Text(words), soft_wrap=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show_bar(
        self,
        finished: int,
        expected: int | None,
        words: str,
        mix: Mapping[str, int],
        *,
        ends: bool = True,
    ) -> None:
        if self._bar is None:
            share = (BarColumn(bar_width=24), TaskProgressColumn()) if ends else ()
            self._bar = Progress(
                SpinnerColumn(),
                *share,
                TextColumn("{task.description}", markup=False),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        rows = sum(mix.values())
        shown = list(mix.items())[:_MIX_LABELS]
        shares = "  ".join(f"{label} {count / rows:.0%}" for label, count in shown)
        assert self._task is not None  # noqa: S101
        self._bar.update(
            self._task,
            total=expected,
            completed=finished,
            description=f"{words}  {shares}",
        )


def _expected_rows(totals: JobTotals, read: tuple[int, int | None]) -> int | None:
    """Estimate the rows of the whole source from the share of its bytes that is read."""
    position, size = read
    if not size or not position or not totals.rows:
        return None
    return max(round(totals.rows * size / min(position, size)), totals.rows)


def _duration(seconds: float) -> str:
    whole = max(int(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def is_at_terminal() -> bool:
    """Whether a person started this and may wait: stderr, where progress goes, or stdout is one."""
    return sys.stderr.isatty() or sys.stdout.isatty()
