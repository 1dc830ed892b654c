"""The torch engine on a GPU: as right as bf16 is, from several threads, whatever way it takes."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from db.registry.versions import Version
from worker.classifier import Classifier
from worker.computing import padded
from worker.engines.fastest import Way
from worker.engines.gpu_forward import GpuForward, gpu
from worker.engines.torch_engine import TorchEngine
from worker.engines.torch_model import load_model

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU, or a build of torch without CUDA"
)

TEXTS = [
    f"i feel {word} about {'the day ' * (n % 40)}number {n}"
    for n in range(300)
    for word in ("good", "sick", "afraid of what you say")
]


@pytest.mark.parametrize("way", ["padded", "packed", "recorded"])
def test_each_way_is_as_right_as_bf16_is(
    merged: Path, starter: Version, classifier: Classifier, way: Way
) -> None:
    forward = GpuForward(load_model(merged), "cuda:0", starter.max_length, way)
    assert forward.way == way
    engine = TorchEngine(merged, starter.max_length, "cpu")
    found = forward(*padded(engine.encoder.encode(TEXTS), engine.padding_id))
    wanted = classifier.logits(TEXTS)
    assert np.abs(found - wanted).mean() < 0.02
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.99


def test_threads_get_the_logits_of_their_own_rows(
    merged: Path, starter: Version, classifier: Classifier
) -> None:
    engine = TorchEngine(merged, starter.max_length, "cuda:0")
    wanted = classifier.logits(TEXTS)
    worst = []

    def compute(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(50):
            chosen = chance.integers(0, len(TEXTS), chance.integers(1, 400))
            rows = engine.encoder.encode([TEXTS[place] for place in chosen])
            found = engine.logits(*padded(rows, engine.padding_id))
            worst.append(np.abs(found - wanted[chosen]).max())

    threads = [threading.Thread(target=compute, args=(seed,)) for seed in range(engine.at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == 50 * engine.at_once
    # Another row's logits differ by whole units.
    assert max(worst) < 0.3


def test_a_model_that_is_loaded_and_recorded_disturbs_none_that_computes(
    merged: Path, starter: Version, classifier: Classifier
) -> None:
    engine = TorchEngine(merged, starter.max_length, "cuda:0")
    given = padded(engine.encoder.encode(TEXTS), engine.padding_id)
    wanted = classifier.logits(TEXTS)
    loaded: list[GpuForward] = []
    loading = threading.Thread(
        target=lambda: loaded.extend(
            GpuForward(load_model(merged), "cuda:0", starter.max_length) for _ in range(3)
        )
    )
    loading.start()
    times = 0
    while loading.is_alive() or not times:
        assert np.abs(engine.logits(*given) - wanted).max() < 0.3
        times += 1
    loading.join()
    assert [each.way for each in loaded] == ["recorded"] * 3
    for each in loaded:
        assert np.abs(each(*given) - wanted).max() < 0.3


def test_a_recording_that_breaks_off_is_the_last_and_harms_nothing(
    merged: Path, starter: Version, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engines.gpu_forward._GPUS", {})
    before = GpuForward(load_model(merged), "cuda:0", starter.max_length)
    one = gpu("cuda:0")
    with one.turn(), pytest.raises(RuntimeError):
        # To look at a number is to wait for it, and cannot be recorded.
        one.recorder()(
            lambda: torch.ones(1, device="cuda:0") * torch.rand(1, device="cuda:0").item()
        )
    after = GpuForward(load_model(merged), "cuda:0", starter.max_length)
    assert (before.way, after.way) == ("recorded", "packed")
    engine = TorchEngine(merged, starter.max_length, "cpu")
    given = padded(engine.encoder.encode(TEXTS), engine.padding_id)
    for forward in (before, after):
        assert np.abs(forward(*given) - classifier.logits(TEXTS)).max() < 0.3
