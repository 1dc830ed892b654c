"""The OpenVINO engine's way to compile a build: attention by single products where rows are short."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from db.errors import RegistryError
from tests.tiny_models import WORDS, tiny_base
from tests.worker.versions import version
from worker.computing import padded
from worker.engines import openvino_engine
from worker.engines.openvino_engine import OpenvinoEngine
from worker.int8.building import write_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of a tiny classifier, as a worker writes it."""
    folder = tiny_base(tmp_path_factory.mktemp("bert"), spread=0.2)
    torch.manual_seed(2)
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4).save_pretrained(folder)
    made = tmp_path_factory.mktemp("build")
    write_build(folder, version(max_length=32), texts(), made)
    return made


def texts() -> list[str]:
    chance = np.random.default_rng(1)
    return [" ".join(chance.choice(WORDS, 1 + number % 17)) for number in range(64)]


def logits(engine: OpenvinoEngine) -> npt.NDArray[np.float32]:
    return engine.logits(*padded(engine.encoder.encode(texts()), engine.padding_id))


def fused_pieces(engine: OpenvinoEngine) -> int:
    """How many pieces of the compiled graph hold a whole attention."""
    compiled = engine._free.get().get_compiled_model()
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    pieces = [
        str(each["originalLayersNames"].astype(str))
        for each in told
        if str(each["layerType"].astype(str)) == "Subgraph"
    ]
    return sum("Softmax" in piece and "ScaledDotProduct" in piece for piece in pieces)


def test_attention_over_short_rows_is_not_fused(build: Path) -> None:
    short, long = OpenvinoEngine(build, 128, 1), OpenvinoEngine(build, 512, 1)
    assert np.abs(logits(short) - logits(long)).max() < 0.05 * np.abs(logits(long)).max()
    if not (by_default := fused_pieces(long)):
        pytest.skip("OpenVINO fuses no attention on this processor")
    assert (fused_pieces(short), by_default) == (0, 2)


def test_the_memory_stands_still_however_many_shapes_there_are(build: Path) -> None:
    """By itself OpenVINO keeps what it compiled for each: here some 2 MiB a shape."""
    engine = OpenvinoEngine(build, 128, 1)
    process = psutil.Process()
    before = 0
    for rows in range(1, 21):
        for length in range(2, 42):
            ids = np.ones((rows, length), dtype=np.int64)
            engine.logits(ids, ids)
        if rows == 10:
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 100 * 2**20


def test_an_openvino_that_has_other_names_computes_as_it_does(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "_KEPT_SHAPES", {"UNHEARD_OF": "YES"})
    assert np.isfinite(logits(OpenvinoEngine(build, 128, 1))).all()


def test_a_build_that_cannot_be_read_is_told_in_one_line(build: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(build, tmp_path / "broken")
    (broken / "model.bin").write_bytes(b"")
    with pytest.raises(RegistryError, match=r"the build in .*/broken cannot be loaded: ") as told:
        OpenvinoEngine(broken, 128, 1)
    assert "\n" not in str(told.value)
