"""The picture of `benchmarks.end_to_end`: a bar of rows a second for each way, and the roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.charts import BLUE, GREY, ORANGE, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.speed_table import Line, Table

#: Words that can be read on a white page and on a dark one: about 4.3 to 1 on either.
INK = "#767d86"

#: Inches: of the picture, of a bar, and of all that stands around the bars.
WIDTH, BAR, AROUND = 9.0, 0.42, 1.3

#: All that is written.
_INKED = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def picture(table: Table) -> str:
    """Return the table's first column as SVG, on no ground of its own."""
    measured = [line for line in table.lines if line.rows_per_second is not None]
    height = AROUND + BAR * len(measured)
    return drawn(
        lambda axes: _draw(axes, table, measured), width=WIDTH, height=height, style=_INKED
    )


def _draw(axes: Axes, table: Table, measured: list[Line]) -> None:
    # The first way stands at the top.
    names = [line.way for line in measured][::-1]
    values = [line.rows_per_second or 0.0 for line in measured][::-1]
    colours = [BLUE if line.ours else GREY for line in measured][::-1]
    bars = axes.barh(names, values, color=colours, height=0.7)
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=4)
    for name, limit in (("fp32", table.roofline.fp32_rows), ("int8", table.roofline.int8_rows)):
        if limit is None:
            continue
        axes.axvline(limit, color=ORANGE, linestyle="--")
        axes.annotate(
            f"roofline {name}: {limit:,.0f}",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            rotation=90,
            color=ORANGE,
        )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("rows/s, from the first row read to the last commit")
    axes.set_title(
        f"From CSV to SQL: {table.rows:,} distinct texts, {table.cpus} CPUs, "
        f"medians of {table.rounds} rounds",
        loc="left",
    )
    axes.tick_params(left=False)
