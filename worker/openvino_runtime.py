"""OpenVINO, imported so that it tells nobody, and what a build for it depends on."""

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
    # On ARM.
    "asimddp",
    "i8mm",
    "sve",
    "bf16",
)

#: How a processor's features are called in /proc/cpuinfo: on x86, and on ARM.
_FLAGS = ("flags", "Features")


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


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's architecture and those of its features that choose kernels.

    Where there is no /proc/cpuinfo, as on macOS, the architecture alone.
    """
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next((line.split(":", 1)[1] for line in lines if line.startswith(_FLAGS)), "")
    there = set(flags.split())
    return " ".join([platform.machine(), *(name for name in _FEATURES if name in there)])
