"""What rows can be picked by, and the tools that there are files for."""

from enum import StrEnum


class Strategy(StrEnum):
    """By what rows are picked."""

    UNCERTAIN = "uncertain"
    RANDOM = "random"
    STRATIFIED = "stratified"


class Tool(StrEnum):
    """Where people look at them."""

    LABELSTUDIO = "labelstudio"
    ARGILLA = "argilla"
    PRODIGY = "prodigy"
    CSV = "csv"
