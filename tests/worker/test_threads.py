"""How many threads an engine computes with: the setting's, OMP_NUM_THREADS's, or a container's share."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from db.settings import Settings
from tests.tiny_models import tiny_base
from tests.worker.versions import version
from worker.engines import make_engine
from worker.engines.openvino_engine import OpenvinoEngine
from worker.int8.building import write_build
from worker.threads import (
    asked_threads,
    calls_at_once,
    fills_the_machine,
    micro_batch_tokens,
    usable_cpus,
)


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


@pytest.mark.usefixtures("four_cpus")
@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_containers_quota_bounds_the_threads(
    tmp_path: Path, files: dict[str, str], cpus: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("omp", "threads"),
    [("3", 3), (" 2,4 ", 2), ("08", 8), ("", None), ("0", None), ("-1", None), ("many", None)],
)
def test_where_the_setting_says_nothing_the_common_one_counts(
    omp: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked_threads(None) is None
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    assert asked_threads(None) == threads
    assert asked_threads(5) == 5


@pytest.mark.usefixtures("four_cpus")
def test_0_asks_for_all_processors_whatever_the_common_one_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert asked_threads(0) == usable_cpus()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merged model, and in `build` its build."""
    folder = tiny_base(tmp_path_factory.mktemp("model"), "bert")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).save_pretrained(folder)
    (folder / "build").mkdir()
    write_build(folder, version(), ["i feel happy", "you feel sad"], folder / "build")
    return folder


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


#: What is set, OMP_NUM_THREADS, and how many threads compute then.
ASKED = [(1, None, 1), (3, "1", 3), (None, "2", 2), (None, "1", 1)]


@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize(("setting", "omp", "threads"), ASKED)
def test_torch_computes_with_so_many(
    model: Path,
    setting: int | None,
    omp: str | None,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    make_engine("torch", model, version(), "cpu", threads=setting)
    # In the thread of the engine, which is none that torch has seen.
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == threads


@pytest.mark.parametrize(
    ("threads", "calls"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 3), (8, 4), (10, 3), (12, 4), (16, 4)],
)
def test_micro_batches_side_by_side_leave_hardly_a_thread_over(threads: int, calls: int) -> None:
    assert calls_at_once(threads) == calls
    assert threads // calls * calls >= 0.85 * threads


def test_only_who_takes_every_processor_is_bound_to_them() -> None:
    processors = len(os.sched_getaffinity(0))
    assert fills_the_machine(processors)
    assert not fills_the_machine(processors - 1)


def test_each_thread_has_its_share_of_a_micro_batch_up_to_a_limit() -> None:
    assert [micro_batch_tokens(threads, 512) for threads in (1, 2, 4, 64)] == [
        512,
        1024,
        2048,
        2048,
    ]


@pytest.mark.parametrize(("setting", "omp", "threads"), ASKED)
def test_openvino_computes_with_so_many(
    model: Path,
    setting: int | None,
    omp: str | None,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    engine = make_engine("openvino", model / "build", version(), "cpu", threads=setting)
    assert isinstance(engine, OpenvinoEngine)
    # It takes no more than there are.
    assert engine.threads == min(threads, usable_cpus())
    assert 1 <= engine.at_once <= engine.threads, "it computes as many at once as it can"
    assert 768 <= engine.micro_batch_tokens <= 2048


@pytest.mark.usefixtures("torch_threads")
def test_where_nobody_asks_neither_takes_more_than_the_process_may(model: Path) -> None:
    torch.set_num_threads(usable_cpus() + 5)
    make_engine("torch", model, version(), "cpu")
    assert torch.get_num_threads() == usable_cpus()
    # And what a program has chosen for itself stays.
    torch.set_num_threads(1)
    make_engine("torch", model, version(), "cpu")
    assert torch.get_num_threads() == 1
    engine = make_engine("openvino", model / "build", version(), "cpu")
    assert isinstance(engine, OpenvinoEngine)
    assert engine.threads == usable_cpus()


def test_the_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(_env_file=None).threads is None
    monkeypatch.setenv("LABELSTREAM_THREADS", "3")
    assert Settings(_env_file=None).threads == 3
