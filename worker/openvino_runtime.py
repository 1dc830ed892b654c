"""OpenVINO, imported so that it tells nobody, and what a build for it depends on."""

import os
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

#: What of a processor decides which kernels run, and with that, in the last digits, the logits.
_FEATURES = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


def openvino() -> ModuleType:
    """Return the module `openvino`; raises ImportError where it is not installed.

    Its import and its converter report their use to a web address unless the package that sends is
    not there; then they take a stub of their own.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def openvino_version() -> str | None:
    """Return the version of the installed OpenVINO, without importing it; None if there is none."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def cpu_features() -> str:
    """Return the processor's architecture and those of its features that choose kernels."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "")
    there = set(flags.split())
    return " ".join([platform.machine(), *(name for name in _FEATURES if name in there)])


def usable_cpus() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
