"""The house: no import goes up a floor or in a circle, and heavy imports stay where they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "db": set(),
    "worker": {"db"},
    "producer": {"db", "worker"},
    "training": {"db", "worker"},
    "dashboard": {"db", "worker", "training"},
}
#: What the producer may know of the worker: the Celery app and the embedded mode.
PRODUCER_MAY_KNOW = {"celery", "embedded", "outbox", "preparing"}
#: What the page may know of worker and training: nothing that loads a model or trains one.
DASHBOARD_MAY_KNOW = {
    "worker.encoder",
    "worker.preparing",
    "training.listing",
    "training.reference",
    "training.report",
    "training.review",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Return what a file imports anywhere: in functions and for type checking too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else node.module for name in names)
    return found


def test_there_are_modules_to_look_at() -> None:
    assert {"db.store", "worker.task", "producer.cli", "training.fit"} <= set(MODULES)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_import_goes_up_a_floor(package: str) -> None:
    for name, path in MODULES.items():
        if name.split(".")[0] != package:
            continue
        ours = {other.split(".")[0] for other in imported(path)}
        assert ours & set(MAY_IMPORT) <= MAY_IMPORT[package] | {package}, name


def test_the_producer_knows_only_the_light_parts_of_the_worker() -> None:
    for name, path in MODULES.items():
        if name.startswith("producer"):
            for other in imported(path):
                if other.startswith("worker"):
                    assert other.split(".")[1] in PRODUCER_MAY_KNOW, (name, other)


def test_the_page_knows_only_the_light_parts_of_worker_and_training() -> None:
    for name, path in MODULES.items():
        if name.startswith("dashboard"):
            for other in imported(path):
                if other.startswith(("worker", "training")):
                    assert ".".join(other.split(".")[:2]) in DASHBOARD_MAY_KNOW, (name, other)


def test_no_file_imports_in_a_circle() -> None:
    graph = {
        name: {other for other in imported(path) if other in MODULES}
        for name, path in MODULES.items()
    }
    finished: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in finished:
            return
        for other in graph[name]:
            visit(other, (*way, name))
        finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    ("command", "never"),
    [
        ("producer.cli", ("torch", "transformers", "peft", "datasets", "pandas", "celery",
                          "sqlalchemy", "alembic", "pyarrow", "pydantic")),
        ("training.cli", ("torch", "transformers", "peft", "datasets", "pandas", "celery")),
        ("db.__main__", ("torch", "celery", "sqlalchemy", "alembic")),
        ("dashboard.__main__", ("torch", "celery", "sqlalchemy", "starlette", "pyarrow")),
    ],
)  # fmt: skip
def test_help_imports_nothing_heavy(command: str, never: tuple[str, ...]) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try:\n    runpy.run_module({command!r}, run_name='__main__')\n"
        f"except SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {never!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "HEAVY []"
    assert "Usage" in done.stdout
