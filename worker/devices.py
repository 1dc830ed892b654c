"""Whether a process computes on a CPU, found out without importing torch where that can be."""

from pathlib import Path

#: What drivers of GPUs that torch knows as cuda show: NVIDIA's, on Windows' own Linux, AMD's.
_GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd")


def on_cpu(device: str) -> bool:
    """Whether the setting `device` (auto, cpu, cuda, cuda:N) means a CPU on this machine."""
    if device != "auto":
        return device == "cpu"
    if not any(found for name in _GPU_FILES for found in Path("/dev").glob(name)):
        return True
    import torch

    return not torch.cuda.is_available()
