"""The pictures of the pages, as SVG; their colours are the style sheet's, for light and dark.

Each has a title that is read aloud, and stands beside a table or a sentence that says the same.
"""

from collections.abc import Collection, Mapping, Sequence
from html import escape

#: Colours that the style sheet has, by number; with more labels they come again.
COLOURS = 10

#: Units of a drawing: as wide as its place, whatever that is.
_WIDTH, _HEIGHT = 600.0, 120.0


def bar(share: float, colour: int = 0) -> str:
    """Draw a bar whose length is `share` of its place; what it says stands beside it."""
    width = 100 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="c{colour % COLOURS}" width="{width:.2f}" height="10"/></svg>'
    )


def line(values: Sequence[float], title: str) -> str:
    """Draw `values` as a line over an area, from 0 up to the largest."""
    top = max(values, default=0.0) or 1.0
    step = _WIDTH / max(len(values) - 1, 1)
    points = [
        f"{place * step:.1f},{_HEIGHT * (1 - 0.95 * value / top):.1f}"
        for place, value in enumerate(values)
    ]
    inside = (
        f'<polygon class="area c0" points="0,{_HEIGHT} {" ".join(points)} {_WIDTH},{_HEIGHT}"/>'
        f'<polyline class="line" points="{" ".join(points)}"/>'
    )
    return _picture(inside, title)


def columns(values: Sequence[float], title: str, beside: Sequence[float] | None = None) -> str:
    """Draw a histogram; `beside` is another one, on the same scale, drawn as steps over it."""
    top = max([*values, *(beside or ())], default=0.0) or 1.0
    width = _WIDTH / max(len(values), 1)
    drawn = []
    for place, value in enumerate(values):
        height = 0.95 * _HEIGHT * value / top
        drawn.append(
            f'<rect class="c0" x="{place * width + 1:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{max(width - 2, 1):.1f}" height="{height:.1f}"/>'
        )
    if beside is not None:
        steps = []
        for place, value in enumerate(beside):
            y = _HEIGHT * (1 - 0.95 * value / top)
            steps += [f"{place * width:.1f},{y:.1f}", f"{(place + 1) * width:.1f},{y:.1f}"]
        drawn.append(f'<polyline class="beside" points="{" ".join(steps)}"/>')
    return _picture("".join(drawn), title)


def stacked(
    centres: Sequence[float],
    width: float,
    shares: Mapping[str, Sequence[float]],
    colours: Mapping[str, int],
    title: str,
    breaks: Collection[int] = (),
) -> str:
    """Draw shares that add up to 1 at each point, one area upon the other, with an edge around each.

    Each point is a stretch of `width`, from 0 to 1 like its middle in `centres`. Before the points
    whose numbers are in `breaks` nothing is drawn: there is nothing between them and the one before.
    """
    drawn = []
    starts = [0, *sorted(breaks)]
    for start, end in zip(starts, [*starts[1:], len(centres)], strict=True):
        stretch = {label: values[start:end] for label, values in shares.items()}
        drawn += _areas(centres[start:end], width, stretch, colours)
    return _picture("".join(drawn), title)


def _areas(
    centres: Sequence[float],
    width: float,
    shares: Mapping[str, Sequence[float]],
    colours: Mapping[str, int],
) -> list[str]:
    """Draw the areas of a stretch without a gap, from where its first point begins to its last's end."""
    if not centres:
        return []
    across = [centres[0] - width / 2, *centres, centres[-1] + width / 2]
    below = [0.0] * len(across)
    drawn = []
    for label, values in shares.items():
        given = [values[0], *values, values[-1]]
        above = [low + value for low, value in zip(below, given, strict=True)]
        corners = " ".join(
            f"{_WIDTH * x:.1f},{_HEIGHT * (1 - y):.1f}"
            for x, y in [
                *zip(across, above, strict=True),
                *reversed(list(zip(across, below, strict=True))),
            ]
        )
        drawn.append(f'<polygon class="c{colours[label] % COLOURS} edge" points="{corners}"/>')
        below = above
    return drawn


def _picture(inside: str, title: str) -> str:
    return (
        f'<svg class="picture" role="img" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" '
        f'preserveAspectRatio="none"><title>{escape(title)}</title>{inside}</svg>'
    )
