"""What a build is for: the kind of processor."""

import platform
from pathlib import Path

import pytest

from worker.openvino_runtime import cpu_features


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
