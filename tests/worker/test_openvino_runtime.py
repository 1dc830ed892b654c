"""What a build is for, and how many threads compute with it: the processor, and a container's share."""

import os
import platform
from pathlib import Path

import pytest

from worker.openvino_runtime import cpu_features, usable_cpus


@pytest.mark.parametrize(
    ("line", "features"),
    [
        ("flags\t\t: fpu avx2 sse avx512_vnni", " avx2 avx512_vnni"),
        ("Features\t: fp asimd asimddp sve i8mm", " asimddp i8mm sve"),
    ],
)
def test_features_are_read_on_x86_and_on_arm(tmp_path: Path, line: str, features: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{line}\nvmx flags\t: amx_int8\n\nprocessor\t: 1\n{line}\n")
    assert cpu_features(cpuinfo) == platform.machine() + features


def test_where_no_file_tells_the_features_the_architecture_counts_alone(tmp_path: Path) -> None:
    assert cpu_features(tmp_path / "cpuinfo") == platform.machine()


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
