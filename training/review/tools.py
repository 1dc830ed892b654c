"""The tools whose files are written and read, by name."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from db.errors import UsageError
from training.review import argilla, labelstudio, prodigy, spreadsheet
from training.review.answers import Answers, Item
from training.review.names import Tool
from training.review.picking import Review

#: What a file for each is called by.
_ENDINGS = {
    Tool.LABELSTUDIO: ".json",
    Tool.ARGILLA: ".json",
    Tool.PRODIGY: ".jsonl",
    Tool.CSV: ".csv",
}

#: The endings that tell a table.
_TABLES = (".csv", ".tsv", ".parquet")


def write(review: Review, tool: Tool, path: Path, *, force: bool = False) -> list[Path]:
    """Write the rows for `tool`, each file whole or not at all; return the files.

    Raises `UsageError` if one is there already (unless `force`), cannot be written, or is called
    otherwise than such a file is.
    """
    if path.suffix.lower() != _ENDINGS[tool]:
        raise UsageError(f"{path} is no name for {tool}: let it end with {_ENDINGS[tool]}")
    contents: dict[Path, str] = {}
    match tool:
        case Tool.LABELSTUDIO:
            contents[path] = _json(labelstudio.tasks(review))
            interface = path.with_name(f"{path.stem}.config.xml")
            contents[interface] = labelstudio.labelling_interface(review.labels)
        case Tool.ARGILLA:
            contents[path] = _json(argilla.records(review))
        case Tool.PRODIGY:
            tasks = prodigy.tasks(review)
            contents[path] = "".join(f"{json.dumps(task)}\n" for task in tasks)
        case Tool.CSV:
            contents[path] = spreadsheet.table(review)
    for each in contents:
        if each.exists() and not force:
            raise UsageError(f"{each} is there already: give another name, or --force")
    for each, content in contents.items():
        part = each.with_name(f".labelstream-{secrets.token_hex(4)}.part")
        try:
            part.write_text(content, encoding="utf-8", newline="")
            part.replace(each)
        except OSError as error:
            raise UsageError(f"{each} cannot be written ({error.strerror})") from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return list(contents)


def read(path: Path, annotator: str) -> Answers:
    """Read what a tool has written; `annotator` is who answered where it names no one.

    Raises `UsageError` for a file that is none of theirs.
    """
    if path.suffix.lower() in _TABLES:
        return spreadsheet.read(path, annotator)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8; export it anew") from None
    items = _items(path, content)
    first = items[0] if items else {}
    if "fields" in first:
        return argilla.read(items, annotator)
    if "options" in first or "answer" in first:
        return prodigy.read(items, annotator)
    if "annotations" in first or "annotation_id" in first or "annotator" in first:
        return labelstudio.read(items, annotator)
    raise UsageError(
        f"{path} is none of: Label Studio's JSON or JSON-MIN, Argilla's records, Prodigy's JSONL, "
        "or a table with job, row and label"
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _items(path: Path, content: str) -> list[Item]:
    """Return the objects of a JSON list, or of a JSON object a line."""
    line = 1
    try:
        if content.lstrip().startswith("["):
            items = json.loads(content)
        else:
            items = []
            # Not `splitlines`: a text may have other ends of lines, as they are.
            for number, text in enumerate(content.split("\n"), 1):
                line = number
                if text.strip():
                    items.append(json.loads(text))
    except (ValueError, RecursionError) as error:
        at = error.lineno - 1 if isinstance(error, json.JSONDecodeError) else 0
        raise UsageError(f"{path} is no JSON (line {line + at}); export it anew") from None
    if not all(isinstance(item, dict) for item in items):
        raise UsageError(f"{path} is no list of JSON objects; export it anew")
    return cast(list[Item], items)
