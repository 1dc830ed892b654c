"""The fenced blocks of the documentation's pages, and what of them is a command."""

import re
import textwrap
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

#: Blocks that a reader runs, and blocks that only show something.
RUN = {"console", "bash", "python", "sql"}
SHOWN = {"text", "yaml", "ini"}

#: A block with this title is left running while the page goes on.
OTHER_TERMINAL = "Another terminal"

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>(?:(?!-->).)*)-->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$"
    r"(?P<after>\s*)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `shown` is the block of text right behind it, which is its output."""

    page: str
    line: int
    language: str
    title: str
    text: str
    not_run: str | None
    shown: str | None

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"docs/{self.page}:{self.line}"

    def commands(self) -> list[tuple[str, str]]:
        """Return the commands of a `console` block, each with the output that is shown."""
        found: list[tuple[list[str], list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(([line[2:]], []))
                continue
            assert found, f"{self.place}: output before the first command"
            command, output = found[-1]
            if not output and command[-1].endswith("\\"):
                command.append(line)
            else:
                output.append(line)
        return [("\n".join(command), "\n".join(output)) for command, output in found]


def blocks(path: Path) -> list[Block]:
    """Return all fenced blocks of a page, in its order."""
    page = path.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(page))
    assert 2 * len(found) == len(re.findall(r"^ *```", page, re.MULTILINE)), path
    return [
        Block(
            page=path.relative_to(DOCS).as_posix(),
            line=page.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            title=(re.search(r'title="([^"]*)"', match["rest"]) or ["", ""])[1],
            text=textwrap.dedent(match["text"]).rstrip("\n"),
            not_run=None if match["reason"] is None else " ".join(match["reason"].split()),
            shown=_output(match, following),
        )
        for match, following in zip_longest(found, found[1:])
    ]


def _output(match: re.Match[str], following: re.Match[str] | None) -> str | None:
    if following is None or following["language"] != "text" or following.start() != match.end():
        return None
    return textwrap.dedent(following["text"]).rstrip("\n")


PAGES = {path.relative_to(DOCS).as_posix(): blocks(path) for path in sorted(DOCS.rglob("*.md"))}
