"""The pages of the reference, made from the code each time that the site is built.

A hook of MkDocs and no plugin: what is told stands in Typer's commands, in the descriptions of fields,
in `#:` comments and in the names of metrics, and of these a plugin for docstrings would show the last
page alone. The page of the commands is written by Typer's own generator.
"""

import ast
import importlib
import inspect
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import sqlalchemy
import typer.main
from commented import comments
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from sqlalchemy.dialects import postgresql
from told_metrics import told_metrics
from typer.cli import get_docs_for_click

from db.migrate import upgrade
from db.schema import Base, table_of
from db.settings import Settings
from db.store import Store
from worker import Classifier

#: The command lines by their names, and where each has its Typer app.
APPS = {
    "producer": "producer.cli",
    "training": "training.cli",
    "python -m db": "db.__main__",
    "python -m dashboard": "dashboard.__main__",
}

POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that stand in `docs/`."""
    pages = {
        "commands": commands(),
        "settings": settings(),
        "tables": tables(),
        "metrics": metrics(),
        "python": python(),
    }
    for name, parts in pages.items():
        content = "\n\n".join(parts)
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def commands() -> Iterator[str]:
    """Tell every command with its arguments and options, as `--help` has them."""
    yield "# Commands"
    yield (
        "An error is one line that says what, where and what to do. Exit status: 0 done, 1 the job "
        "failed, 2 the arguments, the source or a service are unusable, 130 interrupted."
    )
    for name, module in APPS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        context = typer.Context(command, info_name=name)
        yield get_docs_for_click(obj=command, ctx=context, name=name, indent=1)


def settings() -> Iterator[str]:
    """Tell every setting, its default and what it is for."""
    yield "# Settings"
    yield "From the environment, from `.env` in the working folder, or as files in `/run/secrets`."
    yield table(
        ("variable", "default", ""),
        (
            (
                f"`LABELSTREAM_{name.upper()}`",
                "unset" if field.default is None else f"`{field.default}`",
                "; ".join(filter(None, [field.description, choices(field.annotation)])),
            )
            for name, field in Settings.model_fields.items()
        ),
    )


def choices(annotation: Any) -> str:
    """Return the values that a field may have, where they are named one by one."""
    names = [value for value in get_args(annotation) if isinstance(value, str)]
    return ", ".join(f"`{name}`" for name in names)


def tables() -> Iterator[str]:
    """Tell every table with its columns, and those of the view."""
    yield "# Tables"
    yield (
        "All times are UTC. Types are those of PostgreSQL; SQLite has the nearest that it knows. The "
        "tables change only by a migration."
    )
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__tablename__):
        described = table_of(mapper.class_)
        says = comments(mapper.class_)
        yield f"## `{described.name}`"
        yield inspect.getdoc(mapper.class_) or ""
        yield table(
            ("column", "type", "null", ""),
            (
                (
                    f"`{column.name}`" + (" (key)" if column.primary_key else ""),
                    column.type.compile(dialect=POSTGRESQL).lower(),
                    "yes" if column.nullable else "",
                    says.get(column.name, ""),
                )
                for column in described.columns
            ),
        )
    yield "## `current_labels`"
    yield (
        "A view: for each model and `external_id` (or text) the newest row, with the newest "
        "correction of it over the model's label."
    )
    yield ", ".join(f"`{name}`" for name in view_columns())


def view_columns() -> list[str]:
    """Return the columns of `current_labels`, asked of a database that was just made."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'store.db'}")
        upgrade(store)
        columns = sqlalchemy.inspect(store.engine).get_columns("current_labels")
        store.close()
    return [column["name"] for column in columns]


def metrics() -> Iterator[str]:
    """Tell every metric of our own; those of the process and of Python are the client library's."""
    yield "# Metrics"
    yield (
        "A worker with `LABELSTREAM_METRICS_PORT` tells these at `/metrics`, beside what Prometheus's "
        "client library tells of the process and of Python. A histogram has the series `_bucket`, "
        "`_sum` and `_count`."
    )
    modules = [importlib.import_module(f"worker.{name}") for name in ("metrics", "gauges")]
    yield table(("metric", "kind", "labels", ""), metric_rows(modules))


def metric_rows(modules: Iterable[ModuleType]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each metric of `modules`."""
    for module in modules:
        for metric in told_metrics(module):
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            yield f"`{metric.name}`", metric.kind, labels, metric.says


def python() -> Iterator[str]:
    """Tell of the classifier for Python: its class, and what can be called of it."""
    yield "# Python"
    yield "```text\nfrom worker import Classifier\n```"
    yield f"## `{Classifier.__name__}`"
    yield inspect.getdoc(Classifier) or ""
    for name in ("load", "__call__", "logits", "tokens", "close"):
        called = getattr(Classifier, name)
        yield f"### `{name}`"
        yield f"```python\n{name}{signature(called)}\n```"
        yield inspect.getdoc(called) or ""


def signature(called: Any) -> str:
    """Return the arguments of a method and what it returns, as they are written."""
    written = ast.parse(textwrap.dedent(inspect.getsource(called))).body[0]
    assert isinstance(written, ast.FunctionDef)  # noqa: S101
    written.args.args.pop(0)
    given = ast.unparse(written.args)
    returns = ast.unparse(written.returns).strip("'") if written.returns else "None"
    return f"({given}) -> {returns}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
