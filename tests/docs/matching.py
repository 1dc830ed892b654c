"""Whether what a page shows is what came."""

import re


def is_shown(shown: str, came: str) -> bool:
    """Compare line by line; `…` stands for anything in a line, alone for any number of lines.

    How many blanks stand between two columns is not compared: that depends on what else a table holds.
    """
    pattern = ""
    for line in _lines(shown):
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(came))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines()]
