"""Rows end to end, without padding: the same logits, on each architecture that can be called so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tests.foreign_models import plain_classifier
from worker.engines.packed import (
    PackedModel,
    PackedRows,
    Trial,
    as_tensors,
    packed_attention,
    packed_model,
    padding_of,
)
from worker.engines.protocol import Ids
from worker.engines.torch_model import load_model

LONGEST = 60

#: Architectures whose rows can be laid end to end, each with what it calls its sizes.
PACKABLE = ("bert", "roberta", "distilbert", "xlm-roberta", "electra", "camembert", "ernie")

#: What these have in common, for a model of a moment.
SHAPE = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 70,
    "initializer_range": 0.3,
    "num_labels": 3,
}
#: What others call the same, or have beside it.
OWN: dict[str, dict[str, int]] = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "modernbert": {
        f"{name}_token_id": place for place, name in enumerate(("pad", "bos", "eos", "cls", "sep"))
    },
}


def made(kind: str, **shape: object) -> Any:
    """Make a classifier of random weights whose logits depend on every word."""
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SHAPE, **OWN.get(kind, {}), **shape})
    return AutoModelForSequenceClassification.from_config(config).eval()


def padded_logits(model: Any, ids: Ids, mask: Ids) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits
    return found


def packed_logits(packed: PackedModel, ids: Ids, mask: Ids) -> torch.Tensor:
    with torch.inference_mode():
        return packed(*as_tensors(PackedRows.of(ids, mask)))


def packed_of(model: Any) -> PackedModel | None:
    with torch.inference_mode():
        return packed_model(model, LONGEST, Trial.of(model, LONGEST))


def rows_of(lengths: list[int], padding: int, seed: int = 5) -> tuple[Ids, Ids]:
    chance = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int64)
    # 5 and more: no architecture's padding.
    return np.where(mask == 1, chance.integers(5, 100, mask.shape), padding), mask


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
        rows = PackedRows.of(ids, mask)
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
