"""The tables of `benchmarks.end_to_end`: what runs of each way come to, in Markdown and as JSON."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.roofline import Roofline
from benchmarks.ways import Run, Way

#: The way whose labels are those of fp32.
FP32 = "torch"


@dataclass(frozen=True)
class Line:
    """One line of the table; with a reason in `skipped`, nothing else of it is known.

    Seconds and rows a second are medians, the peak is the highest, the labels are those of the last
    round. Shares and accuracy are of 1.
    """

    way: str
    ours: bool
    skipped: str | None = None
    rows_per_second: float | None = None
    ratio: float | None = None
    as_fp32: float | None = None
    #: Of the validation and test texts alone.
    held_out_as_fp32: float | None = None
    accuracy: float | None = None
    loading: float | None = None
    first: float | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class Alone:
    """An engine by itself, and which share of its rows a second the way from CSV to SQL has."""

    engine: str
    rows_per_second: float
    end_to_end: float
    share: float


@dataclass(frozen=True)
class Repeats:
    """A way of ours where texts repeat, with and without what it remembers."""

    way: str
    rows_per_second: float
    rows_per_second_remembering: float
    hit_rate: float | None
    hit_rate_remembering: float | None


@dataclass(frozen=True)
class Table:
    """All that one call has measured; `repeated` is the share of rows with an earlier row's text."""

    rows: int
    held_out: int
    cpus: int
    rounds: int
    tokens_a_row: float
    roofline: Roofline
    lines: list[Line]
    alone: list[Alone]
    repeated: float
    repeats: list[Repeats]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        roofline = {
            **asdict(self.roofline),
            "fp32_rows_per_second": self.roofline.fp32_rows,
            "int8_rows_per_second": self.roofline.int8_rows,
        }
        return {**asdict(self), "roofline": roofline}


def rate(runs: Sequence[Run], rows: int) -> float:
    """Return the rows a second of the median run."""
    return rows / statistics.median(run.seconds for run in runs)


def lines(
    ways: Mapping[str, Way],
    runs: Mapping[str, Sequence[Run]],
    rows: int,
    truth: Mapping[str, str],
) -> list[Line]:
    """Return a line for each way, its ratio to the first, and its labels against those of fp32."""
    fp32 = runs[FP32][-1].labels if FP32 in runs else {}
    held_out = {id_: label for id_, label in fp32.items() if id_ in truth}
    first = next((rate(each, rows) for each in runs.values()), 0.0)
    found = []
    for key, way in ways.items():
        if way.skipped:
            found.append(Line(way.name, way.ours, way.skipped))
            continue
        each = runs[key]
        labels = each[-1].labels
        firsts = [run.first for run in each if run.first is not None]
        found.append(
            Line(
                way=way.name,
                ours=way.ours,
                rows_per_second=rate(each, rows),
                ratio=rate(each, rows) / first,
                as_fp32=share_of(labels, fp32),
                held_out_as_fp32=share_of(labels, held_out),
                accuracy=share_of(labels, truth),
                loading=statistics.median(run.loading for run in each),
                first=statistics.median(firsts) if firsts else None,
                peak_mib=max(run.peak_mib for run in each),
            )
        )
    return found


def share_of(labels: Mapping[str, str], expected: Mapping[str, str]) -> float | None:
    """Return which share of the rows in `expected` has its label; None if there are none."""
    if not expected:
        return None
    return sum(labels.get(id_) == label for id_, label in expected.items()) / len(expected)


def in_markdown(table: Table) -> str:
    """Return the tables for people, as a README takes them."""
    said = (
        f"{table.rows:,} distinct texts, {table.held_out:,} of them of the validation and test "
        f"splits; {table.cpus} CPUs; medians of {table.rounds} rounds by turns"
    )
    return "\n\n".join(
        [
            said,
            _ways(table.lines),
            _roofline(table),
            *(_alone(each) for each in table.alone),
            *([_repeats(table)] if table.repeats else []),
        ]
    )


def _ways(lines: Sequence[Line]) -> str:
    head = ["way", "rows/s", "ratio", "as fp32", "held out", "accuracy", "loading", "first", "peak"]
    cells = []
    for line in lines:
        if line.skipped:
            cells.append([line.way, f"skipped: {line.skipped}"])
            continue
        cells.append(
            [
                line.way,
                _number(line.rows_per_second, ",.0f"),
                _number(line.ratio, ".2f"),
                _number(line.as_fp32, ".2%"),
                _number(line.held_out_as_fp32, ".2%"),
                _number(line.accuracy, ".4f"),
                _number(line.loading, ".1f", " s"),
                _number(line.first, ".1f", " s"),
                _number(line.peak_mib, ",.0f", " MiB"),
            ]
        )
    return _grid(head, cells)


def _roofline(table: Table) -> str:
    roofline = table.roofline
    int8 = (
        f"{roofline.int8_gops:,.0f} GOP/s in 8 bits: {roofline.int8_rows:,.0f} rows/s"
        if roofline.int8_gops
        else "8 bits: not on this processor"
    )
    return (
        f"Roofline: {roofline.mflop_a_row:,.0f} MFLOP a row of {table.tokens_a_row:.1f} tokens; "
        f"{roofline.fp32_gflops:,.0f} GFLOP/s in fp32: {roofline.fp32_rows:,.0f} rows/s; {int8}"
    )


def _alone(each: Alone) -> str:
    return (
        f"Engine {each.engine} alone in one process: {each.rows_per_second:,.0f} rows/s; "
        f"from CSV to SQL {each.end_to_end:,.0f} rows/s, {each.share:.1%} of that"
    )


def _repeats(table: Table) -> str:
    head = [
        "way",
        "rows/s, nothing remembered",
        "hit rate",
        "rows/s, remembering",
        "hit rate",
        "ratio",
    ]
    cells = [
        [
            each.way,
            _number(each.rows_per_second, ",.0f"),
            _number(each.hit_rate, ".1%"),
            _number(each.rows_per_second_remembering, ",.0f"),
            _number(each.hit_rate_remembering, ".1%"),
            _number(each.rows_per_second_remembering / each.rows_per_second, ".2f"),
        ]
        for each in table.repeats
    ]
    said = f"{table.rows:,} rows, {table.repeated:.0%} of them with the text of an earlier one"
    return f"{said}\n\n{_grid(head, cells)}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown whose columns stand below each other.

    A row of fewer cells has none on its right, and room for a long one there.
    """
    cells = [list(head), *map(list, rows)]
    widths = [
        max(len(row[place]) for row in cells if len(row) == len(head) or place < len(row) - 1)
        for place in range(len(head))
    ]
    drawn = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    return "\n".join([drawn[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *drawn[1:]])
