"""The compose files as a test reads them: interpolated and merged as the specification says."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
BASE = ROOT / "docker-compose.yml"
GPU = ROOT / "docker-compose.gpu.yml"

#: Long enough not to stand anywhere by chance.
PASSWORDS = {"REDIS_PASSWORD": "5ec7e7ed15", "POSTGRES_PASSWORD": "5ec7e7ab1e"}

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})"
)


class VariableMissing(Exception):
    """A variable that must have a value has none."""


def variables(text: str) -> dict[str, set[str]]:
    """Return the variables that `text` interpolates, each with its kinds: `-`, `?` or none."""
    found: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(text):
        if not match["escaped"]:
            found.setdefault(match["name"], set()).add(match["kind"] or "")
    return found


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Return `value` with every variable in its strings replaced.

    Raises `VariableMissing` for one that is required and unset or empty.
    """
    if isinstance(value, dict):
        return {key: interpolate(child, environment) for key, child in value.items()}
    if isinstance(value, list):
        return [interpolate(child, environment) for child in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        given = environment.get(match["name"], "")
        if not given and match["kind"] == "?":
            raise VariableMissing(match["name"])
        return given or match["rest"] or ""

    return _VARIABLE.sub(replaced, value)


def merge(below: Any, above: Any) -> Any:
    """Return `above` laid over `below`: mappings merge, lists grow, the rest is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        both = {key: merge(below[key], above[key]) for key in below.keys() & above.keys()}
        return {**below, **above, **both}
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    return above


def load(*files: Path, environment: Mapping[str, str] = PASSWORDS) -> Any:
    """Return the project that `files` make together in `environment`."""
    project: Any = {}
    for file in files:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        project = merge(project, interpolate(raw, environment))
    return project
