"""A page as a browser takes it apart: its elements, its tables, what it would fetch."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from xml.etree import ElementTree

#: Elements that have no end.
VOID = {"meta", "br", "hr", "img", "link", "input", "source", "base", "embed"}

#: What an attribute's value must be for nothing to be fetched: a place in the page, or the data.
OWN = re.compile(r"#[\w-]+|data:image/png;base64,[\w+/=\s]*")


class Page(HTMLParser):
    """A parsed page; `texts` are the words between tags, but those of style and script."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        #: Each table as rows of cells.
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == [], "every element has an end"
        self.charts = [
            # Our own charts, which hold no entities.
            ElementTree.fromstring(svg)  # noqa: S314
            for svg in re.findall(r"<svg.*?</svg>", source, re.DOTALL)
        ]
        self.styles = "".join(re.findall(r"<style.*?</style>", source, re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(" ".join(data.split()))

    @property
    def tags(self) -> set[str]:
        """The names of all elements."""
        return {tag for tag, _ in self.elements}

    def table(self, *header: str) -> list[list[str]]:
        """Return the rows of the table with this header."""
        (found,) = (table[1:] for table in self.tables if table[0] == list(header))
        return found

    def fetched(self) -> list[str]:
        """Return what a browser would ask somebody else for."""
        places = [
            value or ""
            for _, attributes in self.elements
            for name, value in attributes.items()
            if name.split(":")[-1] in ("href", "src", "srcset", "data", "action", "poster")
        ]
        styles = [
            value or ""
            for _, each in self.elements
            for name, value in each.items()
            if name in ("style", "clip-path")
        ]
        places += re.findall(r"url\(\s*['\"]?([^)'\"]*)", " ".join([self.styles, *styles]))
        found = [place for place in places if not OWN.fullmatch(place)]
        return found + re.findall(r"@import[^;]*", self.styles)


def chart_words(chart: ElementTree.Element) -> Sequence[str]:
    """Return the words of a chart, each text one string."""
    return ["".join(each.itertext()) for each in chart.iter() if each.tag.endswith("}text")]
