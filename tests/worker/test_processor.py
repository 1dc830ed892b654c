"""The kind of processor, as the system tells it."""

import platform
from pathlib import Path

import pytest

from worker.processor import amd_with_wide_avx512, cpu_features


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
    assert not amd_with_wide_avx512(tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("maker", "family", "flags", "wanted"),
    [
        ("AuthenticAMD", "26", "fpu avx2 avx512f", True),
        ("AuthenticAMD", "27", "fpu avx2 avx512f", True),
        ("AuthenticAMD", "25", "fpu avx2 avx512f", False),
        ("AuthenticAMD", "26", "fpu avx2", False),
        ("AuthenticAMD", "", "fpu avx2 avx512f", False),
        ("GenuineIntel", "26", "fpu avx2 avx512f", False),
    ],
)
def test_wide_vectors_of_amd_are_told_from_others(
    tmp_path: Path, maker: str, family: str, flags: str, wanted: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        f"processor\t: 0\nvendor_id\t: {maker}\ncpu family\t: {family}\nflags\t\t: {flags}\n\n"
    )
    assert amd_with_wide_avx512(cpuinfo) is wanted
