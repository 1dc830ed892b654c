"""The files of an adapter's folder that say what it is worth: labelstream.json and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import UsageError
from training.comparison import comparison_record
from training.data import LabelledData
from training.evaluation import evaluation_record
from training.measuring import Measured, measure_candidate
from training.mistakes import confident_mistakes
from training.report import REPORT_FILE, report_page
from worker.adapters import METADATA_FILE, described_version
from worker.probes import write_probes

if TYPE_CHECKING:
    from db.registry.versions import Version
    from db.settings import Settings

#: The version of labelstream.json's layout.
FORMAT_VERSION = 1


def measure_into(
    content: dict[str, Any],
    folder: Path,
    data: LabelledData,
    settings: Settings,
    *,
    champion: Version | None = None,
    mistakes: bool = True,
) -> Measured:
    """Measure the adapter in `folder`, and write labelstream.json and report.html beside it.

    `content` is what labelstream.json says of it, without figures; they are added to it. With
    `mistakes` the page shows some, and texts to calibrate engines with are kept; without, no file
    holds a text of the data.
    """
    described = described_version(content, content["model"], "", {})
    measured = measure_candidate(folder, described, data, settings, champion)
    content["metrics"] = {
        "validation": evaluation_record(measured.validation),
        "test": evaluation_record(measured.test) if measured.test else None,
    }
    content["temperature"] = {measured.engine: measured.temperature}
    content["reference"] = measured.reference
    compared = measured.comparison
    content["comparison"] = comparison_record(compared) if compared else None
    write_description(content, folder)
    texts = (data.test or data.validation).texts
    page = report_page(
        content["model"],
        content,
        measured.best,
        comparison=compared,
        not_compared=measured.not_compared,
        mistakes=confident_mistakes(measured.best, texts, content["labels"]) if mistakes else None,
    )
    (folder / REPORT_FILE).write_text(page, encoding="utf-8")
    if mistakes:
        # Not of the training split: a retrain's has texts that people corrected, which are not the
        # data's, and may have to go.
        write_probes(folder, data.validation.texts)
    return measured


def write_description(content: Mapping[str, Any], folder: Path) -> None:
    """Write labelstream.json."""
    (folder / METADATA_FILE).write_text(pretty(content), encoding="utf-8")


def pretty(content: Mapping[str, Any]) -> str:
    """Return JSON for people to read."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say in one line that `folder` cannot be written, where that is so."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from None
