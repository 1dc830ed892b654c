"""The pictures of a report, as SVG with its words as text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from training.calibration import Bin

#: Two colours that also those tell apart who see few, and a third for lines of reference.
BLUE, ORANGE, GREY = "#2563a8", "#c2570c", "#8a8f98"

#: With more labels than this, the cells of a confusion matrix are too small for numbers.
NUMBERED_LABELS = 16

#: Characters of a label that stand beside a matrix.
SHOWN_CHARACTERS = 24

#: Areas of the points of a reliability diagram, for hardly any row and for all of them.
LEAST_AREA, MOST_AREA = 12.0, 120.0

#: CSS's pixels in one of the points that a drawing is measured in.
_PIXELS_A_POINT = 96 / 72

_STYLE: dict[str, Any] = {
    # Words stay words: to be read aloud, searched and copied.
    "svg.fonttype": "none",
    # Names inside the file that are the same each time.
    "svg.hashsalt": "labelstream",
    # A label may hold dollar signs.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 11,
}


def learning_curve(epochs: Sequence[Mapping[str, Any]], chosen: int) -> str:
    """Draw training loss and validation figures by epoch, from `epochs` of labelstream.json."""
    from matplotlib.ticker import MaxNLocator

    numbers = [epoch["epoch"] for epoch in epochs]

    def draw(loss: Axes, score: Axes) -> None:
        loss.plot(numbers, [epoch["loss"] for epoch in epochs], "o-", color=GREY)
        loss.set_title("training loss")
        for key, name, colour in (
            ("validation_accuracy", "accuracy", BLUE),
            ("validation_macro_f1", "macro-F1", ORANGE),
        ):
            score.plot(numbers, [epoch[key] for epoch in epochs], "o-", color=colour, label=name)
        score.axvline(chosen, color=GREY, linestyle=":", label="chosen")
        score.set_title("validation")
        score.legend(frameon=False)
        for each in (loss, score):
            each.set_xlabel("epoch")
            each.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            each.grid(axis="y", alpha=0.3)

    return drawn(draw, columns=2, width=9, height=3.2)


def confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw the confusion matrix: true labels downwards, predicted to the right, share by row."""
    matrix = np.asarray(counts, dtype=float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(1.5 + 0.6 * len(labels), 3, 14))
    names = [_cut(label) for label in labels]

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if len(labels) <= NUMBERED_LABELS:
            for row, line in enumerate(counts):
                for column, count in enumerate(line):
                    axes.text(
                        column,
                        row,
                        str(count),
                        ha="center",
                        va="center",
                        color="white" if shares[row, column] > 0.5 else "black",
                    )

    return drawn(draw, width=side, height=side)


def reliability_diagram(before: Sequence[Bin], after: Sequence[Bin]) -> str:
    """Draw how often rows of a confidence are right, before and after temperature scaling.

    A point is a bin, the larger the more rows it has.
    """

    def draw(diagram: Axes, histogram: Axes) -> None:
        diagram.plot([0, 1], [0, 1], "--", color=GREY, label="confidence = accuracy")
        for bins, name, colour in ((before, "as it is", ORANGE), (after, "calibrated", BLUE)):
            shares = np.asarray([each.rows for each in bins]) / sum(each.rows for each in bins)
            place = ([each.confidence for each in bins], [each.accuracy for each in bins])
            diagram.plot(*place, color=colour, alpha=0.5)
            areas = LEAST_AREA + (MOST_AREA - LEAST_AREA) * shares
            diagram.scatter(*place, s=areas, color=colour, label=name)
        diagram.set_xlabel("confidence")
        diagram.set_ylabel("accuracy")
        # There a model would have to be right where it is unsure.
        diagram.legend(frameon=False, loc="upper left")
        diagram.grid(alpha=0.3)
        histogram.bar(
            [(each.lower + each.upper) / 2 for each in after],
            [each.rows for each in after],
            width=[0.9 * (each.upper - each.lower) for each in after],
            color=BLUE,
        )
        histogram.set_xlim(0, 1)
        histogram.set_xlabel("calibrated confidence")
        histogram.set_ylabel("rows")

    return drawn(draw, columns=2, width=9, height=3.6)


def drawn(
    draw: Any,
    *,
    width: float,
    height: float,
    columns: int = 1,
    style: Mapping[str, Any] | None = None,
) -> str:
    """Return as SVG what `draw` draws on as many axes as there are columns; sizes are inches.

    `style` are settings of matplotlib over our own.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Without pyplot: it would keep the figures, and look for a screen.
    styled: dict[str, Any] = {**_STYLE, **(style or {})}
    with mpl.rc_context(styled), warnings.catch_warnings():  # type: ignore[arg-type]
        # Words stay words: it is the reader's fonts that must have a label's characters.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, columns)
        draw(*np.atleast_1d(axes))
        file = io.StringIO()
        # Neither a date nor a maker: the same figures make the same bytes.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    # What stands before the element belongs to a file of its own, not to a page. Its height
    # follows from its width, where a narrow page makes that less.
    svg = file.getvalue()
    pixels = round(width * 72 * _PIXELS_A_POINT)
    size = re.compile(r'width="[\d.]+pt" height="[\d.]+pt"')
    return size.sub(f'width="{pixels}"', svg[svg.index("<svg") :], count=1)


def _cut(label: str) -> str:
    return label if len(label) <= SHOWN_CHARACTERS else f"{label[: SHOWN_CHARACTERS - 1]}…"
