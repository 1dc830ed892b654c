"""More versions of the starter: the same model whose labels are turned round."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from db.registry.artifacts import artifact_store
from db.registry.versions import Version
from tests.cluster import Cluster
from training.registering import register
from worker.merge import merge_version
from worker.starter import ADAPTER


def turned_adapter(folder: Path, turn: int) -> Path:
    """Write the starter's adapter with the rows of its head moved on by `turn`."""
    shutil.copytree(ADAPTER, folder)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    heads = [name for name in tensors if ".classifier." in name and "lora" not in name]
    assert len(heads) == 2, heads
    for name in heads:
        tensors[name] = np.ascontiguousarray(np.roll(tensors[name], turn, axis=0))
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def add_turned(cluster: Cluster, turn: int, *, merge: bool = True) -> Version:
    """Register a turned starter as the next version of `emotion`, merged unless told otherwise."""
    settings = cluster.python_settings()
    folder = turned_adapter(cluster.folder / f"turned-{turn}", turn)
    version = register(cluster.store, artifact_store(settings), folder, "emotion", why="a test")
    if merge:
        merged(cluster, version)
    return version


def merged(cluster: Cluster, version: Version) -> None:
    """Merge a version here, rather than in a child that would import all it needs anew."""
    merge_version(cluster.store, artifact_store(cluster.python_settings()), version)
