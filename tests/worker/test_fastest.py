"""The fastest way to call a model that is right: what is chosen, and what a wrong way comes to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from db.errors import RegistryError
from tests.foreign_models import plain_classifier
from tests.worker.chance_models import made, rows_of
from worker.engines.fastest import FastestForward, Limits, Way
from worker.engines.fixed_shapes import FixedShapes, Replay
from worker.engines.packed import (
    PackedModel,
    PackedRows,
    as_tensors,
    packed_attention,
    packed_model,
)
from worker.engines.protocol import Ids
from worker.engines.torch_model import load_model
from worker.engines.trial import Trial

LONGEST = 48

#: Tokens of the shapes here: on a CPU each token looks at all others first.
SMALL_SHAPES = (64, 128, 512)

Compute = Callable[[], torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of random weights, its logits far from each other."""
    return plain_classifier(tmp_path / "model", "roberta")


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record shapes that a CPU can compute."""
    monkeypatch.setattr("worker.engines.fastest.SHAPES", SMALL_SHAPES)


class Recorder:
    """Records as a GPU does: the result always stands in the same place, which the next one overwrites."""

    def __init__(self, lacking: int = 0) -> None:
        self.recordings = 0
        self.replays = 0
        #: For the first so many recordings there is no memory.
        self._lacking = lacking

    def __call__(self, compute: Compute) -> Replay:
        self.recordings += 1
        if self.recordings <= self._lacking:
            raise torch.cuda.OutOfMemoryError
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


def not_there(compute: Compute) -> Replay:
    raise AttributeError("module 'torch.cuda' has no attribute 'CUDAGraph'")


def logits(forward: FastestForward, ids: Ids, mask: Ids) -> torch.Tensor:
    return forward.compute(forward.laid_out(ids, mask))


def near(found: torch.Tensor, model: Any, ids: Ids, mask: Ids) -> bool:
    """Whether logits in bf16 are those of `model` in fp32: 8 bits of a fraction, through some layers."""
    given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    with torch.inference_mode():
        wanted = model(**given).logits
    assert found.shape == wanted.shape
    return bool((found.float() - wanted).abs().max() < 0.05 * wanted.abs().max())


def test_rows_are_put_into_the_next_larger_shape(folder: Path) -> None:
    model = load_model(folder)
    with torch.inference_mode():
        packed = packed_model(model, LONGEST, Trial.of(model, LONGEST))
        assert isinstance(packed, PackedModel)
        recorder = Recorder()
        shapes = FixedShapes(packed, recorder, "cpu")
        shapes.add(256)
        shapes.add(64)
        for seed, lengths in enumerate(([40, 24], [40, 25], [3] * 8, [3] * 9, [1], [48] * 5)):
            rows = PackedRows.of(*rows_of(lengths, seed=seed), packed.uncounted)
            found = shapes(rows)
            assert found is not None
            assert torch.allclose(found, packed(*as_tensors(rows)), atol=1e-4), lengths
        for lengths in ([48] * 6, [2] * 33):
            assert shapes(PackedRows.of(*rows_of(lengths), packed.uncounted)) is None
    assert (recorder.recordings, recorder.replays) == (2, 6)


@pytest.mark.parametrize(
    ("record", "fastest", "way"),
    [
        (Recorder(), "recorded", "recorded"),
        (Recorder(), "packed", "packed"),
        (Recorder(), "padded", "padded"),
        (Recorder(lacking=1), "recorded", "recorded"),
        (Recorder(lacking=3), "recorded", "packed"),
        (None, "recorded", "packed"),
        (stale, "recorded", "packed"),
        (refusing, "recorded", "packed"),
        (not_there, "recorded", "packed"),
    ],
    ids=["recorded", "packed", "padded", "lacks some", "lacks all", "none", "stale", "refuses", "absent"],
)  # fmt: skip
def test_the_fastest_way_that_is_right(folder: Path, record: Any, fastest: Way, way: Way) -> None:
    plain = load_model(folder)
    forward = FastestForward(load_model(folder), "cpu", LONGEST, record, fastest=fastest)
    assert forward.way == way
    for lengths in ([5, 48, 1, 20], [7], [30] * 20, [3] * 200):
        ids, mask = rows_of(lengths)
        found = logits(forward, ids, mask)
        assert found.dtype == torch.bfloat16
        assert near(found, plain, ids, mask)


def test_every_shape_is_tried_full_of_tokens_full_of_rows_and_less_full(folder: Path) -> None:
    recorder = Recorder()
    assert FastestForward(load_model(folder), "cpu", LONGEST, recorder).way == "recorded"
    # Only the largest has room for half of the rows without being full.
    assert (recorder.recordings, recorder.replays) == (3, 7)


def forgetting_the_last(compute: Compute) -> Replay:
    """Err in the last of the rows that there is room for."""

    def replay() -> torch.Tensor:
        found = compute().clone()
        found[-1] = 0
        return found

    return replay


def test_a_shape_that_errs_only_where_it_is_full_of_rows_is_found_out(folder: Path) -> None:
    forward = FastestForward(load_model(folder), "cpu", LONGEST, forgetting_the_last)
    assert forward.way == "packed"


def test_a_shape_that_lacks_memory_when_it_is_tried_is_not_kept(folder: Path) -> None:
    sizes = iter(reversed(SMALL_SHAPES))

    def record(compute: Compute) -> Replay:
        size = next(sizes)

        def replay() -> torch.Tensor:
            if size == SMALL_SHAPES[1]:
                raise torch.cuda.OutOfMemoryError
            return compute()

        return replay

    forward = FastestForward(load_model(folder), "cpu", LONGEST, record)
    ids, mask = rows_of([48, 48])
    # Those rows are put into the next larger shape.
    assert near(logits(forward, ids, mask), load_model(folder), ids, mask)
    assert forward.way == "recorded"


def in_16_bits(does: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    """Return an attention that is right in fp32, and in 16 bits what a GPU might make of it."""

    def attention(*given: Any, **named: Any) -> Any:
        found, weights = packed_attention(*given, **named)
        if found.dtype == torch.bfloat16:
            found = does(found, named["cu_seq_lens_q"])
        return found, weights

    return attention


def raising(*_: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")


def without_the_last_row(found: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    found = found.clone()
    found[:, bounds[-2] : bounds[-1]] = 0
    return found


@pytest.mark.parametrize(
    "does",
    [
        raising,
        lambda found, _: found * 1.5,
        lambda found, _: found * torch.nan,
        without_the_last_row,
    ],
    ids=["raises", "is wrong", "is no number", "is wrong in one row"],
)
def test_a_kernel_that_fails_or_errs_leaves_rows_padded(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    monkeypatch.setattr("worker.engines.packed.packed_attention", in_16_bits(does))
    forward = FastestForward(load_model(folder), "cpu", LONGEST, Recorder())
    assert forward.way == "padded"
    ids, mask = rows_of([5, 48, 1, 20])
    assert near(logits(forward, ids, mask), load_model(folder), ids, mask)


def test_logits_that_are_not_finite_are_no_measure() -> None:
    wanted = torch.tensor([[1.0, 2.0]])
    limits = Limits.of(torch.tensor([[1.0, torch.nan]]), wanted)
    assert not limits.hold(wanted, wanted)
    assert Limits.of(torch.tensor([[1.0, 2.1]]), wanted).hold(torch.tensor([[1.1, 2.0]]), wanted)


def test_a_model_that_asks_for_certain_tokens_is_padded() -> None:
    """BART reads its answer from the last of a row's end marks, and raises where there is none."""
    forward = FastestForward(made("bart"), "cpu", LONGEST, Recorder())
    assert forward.way == "padded"
    ids, mask = rows_of([9, 9])
    ids[:, -1] = 2
    assert near(logits(forward, ids, mask), made("bart"), ids, mask)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_model_with_fewer_places_than_a_row_has_tokens_is_refused(
    tmp_path: Path, kind: str
) -> None:
    """On a GPU a place past the last one would be the end of the process."""
    folder = plain_classifier(tmp_path / "model", kind, shape={"max_position_embeddings": 20})
    with pytest.raises(RegistryError, match="the model cannot compute rows of up to 48 tokens: "):
        FastestForward(load_model(folder), "cpu", LONGEST, None)
