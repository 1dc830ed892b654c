"""The model is loaded once a process, and serving never needs what only training does."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import Cluster, clean_environment, wait_until

ROWS = 1000


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "many.csv"
    path.write_text("text\n" + "".join(f"i feel number {n}\n" for n in range(ROWS)))
    return path


def test_four_threads_and_many_chunks_load_the_model_once(cluster: Cluster, many: Path) -> None:
    cluster.start_worker()
    result = cluster.ingest(many, "--chunk-rows", "50")
    assert result["labeled"] == ROWS
    chunks = ROWS / 50
    wait_until(lambda: cluster.logs().count("chunk done:") == chunks, 10, "a line for each chunk")
    log = cluster.logs()
    assert log.count("loaded on cpu with engine torch") == 1
    loaded = log.index("loaded on cpu with engine torch")
    assert loaded < log.index("chunk done:")
    assert "ready." in log[loaded:], "loaded before the worker took its first message"


def run_python(code: str, **settings: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_serving_imports_neither_peft_nor_training(cluster: Cluster) -> None:
    cluster.start_worker()
    code = """
import sys
from worker import Classifier
Classifier.load("emotion:1")(["what a day"])
print([name for name in ("peft", "datasets", "training", "pandas", "sklearn") if name in sys.modules])
"""
    assert run_python(code, **cluster.settings).strip() == "[]"


def test_the_producer_imports_neither_torch_nor_transformers() -> None:
    code = """
import sys
import producer.ingest, producer.relabeling, producer.dry_run, producer.cli
heavy = ("torch", "transformers", "peft", "datasets", "training", "pyarrow", "pandas")
print([name for name in heavy if name in sys.modules])
"""
    assert run_python(code).strip() == "[]"
