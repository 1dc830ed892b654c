"""The fastest way to call a model that is right: what is chosen, and what a wrong way comes to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db.errors import RegistryError
from tests.foreign_models import plain_classifier
from worker.engines.fastest import FastestForward, Way
from worker.engines.fixed_shapes import FixedShapes, Replay
from worker.engines.packed import (
    PackedModel,
    PackedRows,
    Trial,
    as_tensors,
    packed_attention,
    packed_model,
)
from worker.engines.protocol import Ids
from worker.engines.torch_model import load_model

LONGEST = 48

Compute = Callable[[], torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of random weights, its logits far from each other."""
    return plain_classifier(tmp_path / "model", "roberta")


def rows_of(lengths: list[int], seed: int = 5) -> tuple[Ids, Ids]:
    chance = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int64)
    return np.where(mask == 1, chance.integers(4, 40, mask.shape), 0), mask


class Recorder:
    """Records as a GPU does: the result always stands in the same place, which the next one overwrites."""

    def __init__(self) -> None:
        self.recordings = 0
        self.replays = 0

    def __call__(self, compute: Compute) -> Replay:
        self.recordings += 1
        place = compute().clone()

        def replay() -> torch.Tensor:
            self.replays += 1
            return place.copy_(compute())

        return replay


def stale(compute: Compute) -> Replay:
    """Give the first result for ever."""
    found = compute().clone()
    return lambda: found


def refusing(compute: Compute) -> Replay:
    raise RuntimeError("operation not permitted when stream is capturing")


def without_memory(compute: Compute) -> Replay:
    raise torch.cuda.OutOfMemoryError


def packed_of(folder: Path) -> PackedModel:
    model = load_model(folder)
    with torch.inference_mode():
        packed = packed_model(model, LONGEST, Trial.of(model, LONGEST))
    assert packed is not None
    return packed


def test_rows_are_put_into_the_next_larger_shape(folder: Path) -> None:
    packed, recorder = packed_of(folder), Recorder()
    shapes = FixedShapes(packed, recorder, "cpu", shapes=(64, 256))
    with torch.inference_mode():
        for seed, lengths in enumerate(([40, 24], [40, 25], [3] * 16, [3] * 17, [1], [48] * 5)):
            rows = PackedRows.of(*rows_of(lengths, seed))
            found = shapes(rows)
            assert found is not None
            assert torch.allclose(found, packed(*as_tensors(rows)), atol=1e-4), lengths
    # Two shapes, each recorded once, whatever came between.
    assert (recorder.recordings, recorder.replays) == (2, 6)


@pytest.mark.parametrize("lengths", [[48] * 6, [2] * 65])
def test_rows_for_which_no_shape_is_large_enough(folder: Path, lengths: list[int]) -> None:
    shapes = FixedShapes(packed_of(folder), Recorder(), "cpu", shapes=(64, 256))
    with torch.inference_mode():
        assert shapes(PackedRows.of(*rows_of(lengths))) is None


@pytest.mark.parametrize(
    ("record", "fastest", "way"),
    [
        (Recorder(), "recorded", "recorded"),
        (Recorder(), "packed", "packed"),
        (Recorder(), "padded", "padded"),
        (None, "recorded", "packed"),
        (stale, "recorded", "packed"),
        (refusing, "recorded", "packed"),
        (without_memory, "recorded", "packed"),
    ],
    ids=["recorded", "packed", "padded", "no recorder", "stale", "refusing", "without memory"],
)
def test_the_fastest_way_that_is_right(folder: Path, record: Any, fastest: Way, way: Way) -> None:
    plain = load_model(folder)
    forward = FastestForward(load_model(folder), "cpu", LONGEST, record, fastest)
    assert forward.way == way
    for lengths in ([5, 48, 1, 20], [7], [30] * 50):
        ids, mask = rows_of(lengths)
        with torch.inference_mode():
            found = forward(ids, mask)
            wanted = plain(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            ).logits
        assert found.dtype == torch.bfloat16
        # 8 bits of a fraction, through some layers.
        assert (found.float() - wanted).abs().max() < 0.05 * wanted.abs().max()


def in_16_bits(does: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    """Return an attention that is right in fp32, and in 16 bits what a GPU might make of it."""

    def attention(*given: Any, **named: Any) -> Any:
        found, weights = packed_attention(*given, **named)
        return (does(found) if found.dtype == torch.bfloat16 else found), weights

    return attention


def raising(_: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")


@pytest.mark.parametrize(
    "does",
    [raising, lambda found: found * 1.5, lambda found: found * torch.nan],
    ids=["raises", "is wrong", "is no number"],
)
def test_a_kernel_that_fails_or_errs_leaves_rows_padded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, does: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    monkeypatch.setattr("worker.engines.packed.packed_attention", in_16_bits(does))
    forward = FastestForward(load_model(folder), "cpu", LONGEST, Recorder())
    assert forward.way == "padded"
    ids, mask = rows_of([5, 48, 1, 20])
    with torch.inference_mode():
        assert torch.isfinite(forward(ids, mask)).all()


def test_a_recording_that_fails_later_is_the_last(folder: Path) -> None:
    recorder = Recorder()

    def twice(compute: Compute) -> Replay:
        return recorder(compute) if recorder.recordings < 1 else refusing(compute)

    forward = FastestForward(load_model(folder), "cpu", LONGEST, twice)
    ways = [forward.way]
    ids, mask = rows_of([30] * 80)
    with torch.inference_mode():
        found = forward(ids, mask)
    ways.append(forward.way)
    assert ways == ["recorded", "packed"]
    assert found.shape == (80, 3)
    assert torch.isfinite(found).all()


def test_a_recording_without_memory_is_told_and_tried_again(folder: Path) -> None:
    recorder = Recorder()
    lacking = True

    def record(compute: Compute) -> Replay:
        if recorder.recordings and lacking:
            raise torch.cuda.OutOfMemoryError
        return recorder(compute)

    forward = FastestForward(load_model(folder), "cpu", LONGEST, record)
    ids, mask = rows_of([30] * 80)
    with torch.inference_mode():
        with pytest.raises(torch.cuda.OutOfMemoryError):
            forward(ids, mask)
        lacking = False
        assert torch.isfinite(forward(ids, mask)).all()
    assert forward.way == "recorded"


def test_a_model_with_fewer_places_than_a_row_has_tokens_is_refused(tmp_path: Path) -> None:
    """On a GPU a place past the last one would be the end of the process."""
    folder = plain_classifier(tmp_path / "model", shape={"max_position_embeddings": 20})
    with pytest.raises(RegistryError, match="the model cannot compute a row of 48 tokens"):
        FastestForward(load_model(folder), "cpu", LONGEST, None)
