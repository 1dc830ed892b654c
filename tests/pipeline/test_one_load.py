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


#: What only training does needs them.
TRAINING = {"peft", "datasets", "training", "pandas", "sklearn", "matplotlib"}

IMPORT_HOOK = """
import os, sys
log = os.open(os.environ["IMPORTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event == "import":
        os.write(log, arguments[0].partition(".")[0].encode() + b"\\n")
sys.addaudithook(hook)
"""


def test_whole_runs_of_worker_and_producer_import_nothing_of_the_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(IMPORT_HOOK)
    few = tmp_path / "few.csv"
    few.write_text("text\nwhat a day\nwho ate my lunch\n")

    cluster.start_worker(PYTHONPATH=str(hooks), IMPORTS_LOG=str(tmp_path / "worker"))
    result = cluster.ingest(few, PYTHONPATH=str(hooks), IMPORTS_LOG=str(tmp_path / "producer"))
    assert (result["labeled"], result["engine"]) == (2, "torch")
    of_worker, of_producer = (
        set((tmp_path / name).read_text().splitlines()) for name in ("worker", "producer")
    )
    assert {"torch", "transformers"} <= of_worker, "the hook sees imports"
    assert "celery" in of_producer, "the hook sees imports"
    assert of_worker & TRAINING == set()
    assert of_producer & (TRAINING | {"torch", "transformers", "pyarrow"}) == set()


def test_serving_by_the_classifier_imports_neither_peft_nor_training(cluster: Cluster) -> None:
    code = f"""
import sys
from worker import Classifier
Classifier.load("emotion:1")(["what a day"])
print([name for name in {sorted(TRAINING)} if name in sys.modules])
"""
    assert run_python(code, **cluster.settings).strip() == "[]"


def test_no_part_of_the_producer_imports_torch_or_transformers() -> None:
    code = """
import sys
import producer.ingest, producer.relabeling, producer.dry_run, producer.cli
heavy = ("torch", "transformers", "peft", "datasets", "training", "pyarrow", "pandas")
print([name for name in heavy if name in sys.modules])
"""
    assert run_python(code).strip() == "[]"
