"""Rows end to end, without padding: the same logits, on each architecture that can be called so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.foreign_models import plain_classifier
from tests.worker.chance_models import made, rows_of
from worker.engines.packed import (
    PackedModel,
    PackedRows,
    as_tensors,
    packed_attention,
    packed_model,
)
from worker.engines.protocol import Ids
from worker.engines.torch_model import load_model
from worker.engines.trial import Trial, padding_of

LONGEST = 60

#: Architectures whose rows can be laid end to end.
PACKABLE = ("bert", "roberta", "distilbert", "xlm-roberta", "electra", "camembert", "ernie")


def padded_logits(model: Any, ids: Ids, mask: Ids) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits
    return found


def packed_logits(packed: PackedModel, ids: Ids, mask: Ids) -> torch.Tensor:
    with torch.inference_mode():
        return packed(*as_tensors(PackedRows.of(ids, mask, packed.uncounted)))


def packed_of(model: Any) -> PackedModel | None:
    with torch.inference_mode():
        return packed_model(model, LONGEST, Trial.of(model, LONGEST))


def test_rows_are_laid_end_to_end() -> None:
    ids = np.array([[7, 8, 9], [4, 0, 0], [5, 6, 0]])
    mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    rows = PackedRows.of(ids, mask)
    assert rows.ids.tolist() == [7, 8, 9, 4, 5, 6]
    assert rows.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert rows.bounds.tolist() == [0, 3, 4, 6]
    assert rows.bounds.dtype == np.int32
    assert len(rows) == 3


def test_a_row_of_no_token_keeps_one_of_padding() -> None:
    rows = PackedRows.of(np.array([[9, 9], [1, 1]]), np.array([[0, 0], [1, 1]]))
    assert (rows.ids.tolist(), rows.bounds.tolist()) == ([9, 1, 1], [0, 1, 3])


def test_tokens_that_do_not_count_have_no_place() -> None:
    ids = np.array([[7, 1, 9, 1], [1, 4, 0, 0], [5, 6, 0, 0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    rows = PackedRows.of(ids, mask, uncounted=1)
    assert rows.ids.tolist() == [7, 1, 9, 1, 1, 4, 5, 6]
    assert rows.positions.tolist() == [0, -1, 1, -1, -1, 0, 0, 1]


@pytest.mark.parametrize("kind", PACKABLE)
@pytest.mark.parametrize(
    "lengths",
    [[LONGEST], [1], [1, 2, 3, LONGEST, 1, 17], [30] * 40],
    ids=lambda each: f"{len(each)}",
)
def test_the_logits_are_those_of_padded_rows(kind: str, lengths: list[int]) -> None:
    model = made(kind)
    ids, mask = rows_of(lengths, model.config.pad_token_id)
    wanted = padded_logits(model, ids, mask)
    packed = packed_of(model)
    assert packed is not None
    assert torch.allclose(packed_logits(packed, ids, mask), wanted, atol=1e-4)
    packed.detach()
    assert torch.equal(padded_logits(model, ids, mask), wanted)


@pytest.mark.parametrize("kind", PACKABLE)
def test_a_text_may_name_the_padding(kind: str) -> None:
    """RoBERTa and its kin do not count it."""
    model = made(kind)
    padding = model.config.pad_token_id
    ids, mask = rows_of([9, 4, 30], padding)
    ids[0, 3] = ids[0, 4] = ids[2, 29] = ids[1, 0] = padding
    wanted = padded_logits(model, ids, mask)
    packed = packed_of(model)
    assert packed is not None
    assert torch.allclose(packed_logits(packed, ids, mask), wanted, atol=1e-4)


def test_the_attention_that_a_model_had_is_given_back() -> None:
    model = made("bert")
    model.set_attn_implementation("eager")
    packed = packed_of(model)
    assert packed is not None
    packed.detach()
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", ["deberta-v2", "modernbert", "mpnet"])
def test_what_cannot_be_laid_end_to_end_stays_as_it_was(kind: str) -> None:
    model = made(kind)
    ids, mask = rows_of([LONGEST, 3, 17], padding_of(model))
    wanted = padded_logits(model, ids, mask)
    assert packed_of(model) is None
    assert torch.equal(padded_logits(model, ids, mask), wanted)


def test_an_attention_across_rows_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(*given: Any, **named: Any) -> Any:
        all_tokens = torch.tensor([0, given[1].shape[2]], dtype=torch.int32)
        return packed_attention(*given, **{**named, "cu_seq_lens_q": all_tokens})

    monkeypatch.setattr("worker.engines.packed.packed_attention", blind)
    assert packed_of(made("bert")) is None


def test_tokens_behind_the_last_row_and_rows_of_no_token_change_nothing() -> None:
    model = made("roberta")
    ids, mask = rows_of([3, 9, 4], 1)
    packed = packed_of(model)
    assert packed is not None
    with torch.inference_mode():
        rows = PackedRows.of(ids, mask, packed.uncounted)
        wanted = packed(*as_tensors(rows))
        behind = PackedRows(
            np.concatenate((rows.ids, [50] * 5)),
            np.concatenate((rows.positions, [7] * 5)),
            np.concatenate((rows.bounds, [16] * 4)).astype(np.int32),
        )
        found = packed(*as_tensors(behind))
    assert found.shape == (7, 3)
    assert torch.allclose(found[:3], wanted, atol=1e-5)


def test_a_model_that_is_done_with_leaves_the_memory_at_once(tmp_path: Path) -> None:
    """Without a garbage collection: an evicted version must make room for the next."""
    import gc
    import weakref

    model = load_model(plain_classifier(tmp_path / "model"))
    packed = packed_of(model)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(model)
        del model, packed
        assert gone() is None
    finally:
        gc.enable()
