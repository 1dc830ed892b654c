"""The processor's kind, as /proc/cpuinfo tells it: what decides which kernels run."""

import platform
from pathlib import Path

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

#: The family of AMD's processors of the fifth Zen generation.
_ZEN_5 = 26

_CPUINFO = Path("/proc/cpuinfo")


def cpu_features(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's architecture and those of its features that choose kernels.

    Where there is no /proc/cpuinfo, as on macOS, the architecture alone.
    """
    there = set(_said(cpuinfo, _FLAGS).split())
    return " ".join([platform.machine(), *(name for name in _FEATURES if name in there)])


def amd_with_wide_avx512(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether it is AMD's, and computes 512 bits at once: Zen 5 and later, for Zen 4 takes two steps."""
    maker, family = _said(cpuinfo, ("vendor_id",)), _said(cpuinfo, ("cpu family",))
    if maker != "AuthenticAMD" or not family.isdecimal():
        return False
    return int(family) >= _ZEN_5 and "avx512f" in _said(cpuinfo, _FLAGS).split()


def _said(cpuinfo: Path, names: tuple[str, ...]) -> str:
    """Return what is said of the first processor under one of `names`; "" where nothing is."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(names)), "")
