"""What the `#:` lines above the fields of a class say of them."""

import inspect
import re


def comments(described: type) -> dict[str, str]:
    """Return the text of the `#:` lines above each field of `described`, by the field's name."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(described).splitlines():
        stripped = line.strip()
        field = re.match(r"(\w+): ", stripped)
        if stripped.startswith("#:"):
            above.append(stripped.removeprefix("#:").strip())
            continue
        if field and above:
            found[field[1]] = " ".join(above)
        above = []
    return found
