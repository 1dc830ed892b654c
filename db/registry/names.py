"""Names of models, as people write them: `emotion`, `emotion@production`, `emotion:1`."""

import re
from dataclasses import dataclass

from db.errors import UsageError

#: Versions are counted one by one: nine digits are enough, and every database stores them.
_VERSION = "[1-9][0-9]{0,8}"

#: What a name of a model or an alias may be made of.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_REFERENCE = re.compile(rf"(?P<model>{_NAME})(?:@(?P<alias>{_NAME})|:(?P<version>{_VERSION}))?")

#: The alias that is meant where none is given.
DEFAULT_ALIAS = "production"


@dataclass(frozen=True)
class ModelRef:
    """What a person wrote to name a model: by alias or by version."""

    model: str
    alias: str | None
    version: int | None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.model}:{self.version}"
        return f"{self.model}@{self.alias}"


def parse_ref(text: str) -> ModelRef:
    """Read `emotion`, `emotion@production` or `emotion:1`.

    Raises `UsageError` for anything else.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no model; write NAME, NAME@ALIAS or NAME:VERSION")
    version = int(match["version"]) if match["version"] else None
    alias = None if version is not None else match["alias"] or DEFAULT_ALIAS
    return ModelRef(match["model"], alias, version)


def parse_numbered(text: str) -> ModelRef:
    """Read `emotion:1`; raises `UsageError` for a name without a number, and for no name at all."""
    reference = parse_ref(text)
    if reference.version is None:
        raise UsageError(f"{text} names no version by its number: write {reference.model}:NUMBER")
    return reference


def check_model_name(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a model or of an alias."""
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            f"{name!r} cannot be the name of a model or an alias; "
            "use letters, digits, '.', '_' and '-'"
        )
