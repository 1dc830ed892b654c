"""The reference, made from the code, has all of it."""

import re
from html import unescape
from pathlib import Path

import pytest
from mkdocs.config import load_config
from mkdocs.structure.files import Files
from prometheus_client import Metric

from db.schema import Base
from db.settings import Settings
from tests.deploy.compose import ROOT
from tests.test_readme import COMMANDS, options
from worker.metrics import REGISTRY


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The text of each page of the reference, as MkDocs gets it."""
    config = load_config(str(ROOT / "mkdocs.yml"))
    files = config.plugins.on_files(Files([]), config=config)
    return {Path(file.src_uri).stem: unescape(file.content_string) for file in files}


def test_every_command_and_every_option_has_its_place(pages: dict[str, str]) -> None:
    for name, command in COMMANDS.items():
        part = re.split(rf"^#+ `{re.escape(name)}`$", pages["commands"], flags=re.MULTILINE)[1]
        own = re.split(r"^#+ `", part, flags=re.MULTILINE)[0]
        assert options(command) <= set(re.findall(r"--[a-z][a-z-]+", own)), name


def test_every_setting_has_a_line_with_what_it_is_for(pages: dict[str, str]) -> None:
    for name in Settings.model_fields:
        assert re.search(
            rf"^\| `LABELSTREAM_{name.upper()}` \| .+ \| \w.+ \|$", pages["settings"], re.MULTILINE
        ), name


def test_every_column_stands_under_its_table(pages: dict[str, str]) -> None:
    for name, described in Base.metadata.tables.items():
        part = pages["tables"].split(f"## `{name}`")[1].split("## `")[0]
        for column in described.columns:
            assert f"| `{column.name}`" in part, f"{name}.{column.name}"


def test_what_is_said_of_a_column_in_the_code_stands_beside_it(pages: dict[str, str]) -> None:
    assert "| `raw` | text | yes | The row as it stood, escaped, at most 4 KB;" in pages["tables"]


def test_the_view_has_its_columns(pages: dict[str, str]) -> None:
    assert "`corrected`" in pages["tables"].split("## `current_labels`")[1]


def test_every_metric_that_is_counted_has_its_line(pages: dict[str, str]) -> None:
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("labelstream_")]
    assert len(ours) >= 10
    for metric in ours:
        assert f"| `{name_of(metric)}` | {metric.type} |" in pages["metrics"], metric.name


def name_of(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_the_classifier_is_shown_as_it_is_called(pages: dict[str, str]) -> None:
    assert (
        "__call__(texts: str | Sequence[str], top_k: int | None=1) -> list[Any]" in pages["python"]
    )
