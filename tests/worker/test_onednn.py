"""Linear layers by oneDNN: the same logits, or the model as it was."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.worker.chance_models import made, rows_of
from worker.engines import onednn
from worker.engines.cpu_forward import CpuForward
from worker.engines.onednn import Filler, OnednnLinear, by_onednn, filled_up

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="this build of torch has no oneDNN",
)


def logits(model: Any, lengths: tuple[int, ...] = (5, 48, 1, 20)) -> torch.Tensor:
    ids, mask = rows_of(list(lengths), model.config.pad_token_id)
    with torch.inference_mode():
        found: torch.Tensor = model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits
    return found


def replaced(model: Any) -> int:
    return sum(isinstance(each, OnednnLinear) for each in model.modules())


@pytest.fixture(autouse=True)
def on_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever processor this is: what is wanted is that the logits are right."""
    monkeypatch.setattr(onednn, "amd_with_wide_avx512", lambda: True)


@needs_onednn
@pytest.mark.parametrize("lengths", [(1,), (5, 48, 1, 20), (48,) * 32])
@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "deberta-v2"])
def test_the_logits_stay_the_same(kind: str, lengths: tuple[int, ...]) -> None:
    model = made(kind)
    wanted = logits(model, lengths)
    assert by_onednn(model) is model
    assert replaced(model) == 14
    assert torch.allclose(logits(model, lengths), wanted, atol=1e-4)


@needs_onednn
def test_the_engine_computes_so_and_gives_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("bert")
    wanted = logits(model)
    forward = CpuForward(model)
    used: list[str] = []
    monkeypatch.setattr(forward, "_heap", SimpleNamespace(used=lambda: used.append("once")))
    found = forward(*rows_of([5, 48, 1, 20], model.config.pad_token_id))
    assert replaced(model) == 14
    assert used == ["once"]
    assert found.dtype == np.float32
    assert np.abs(found - wanted.numpy()).max() < 1e-4


def test_on_other_processors_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "amd_with_wide_avx512", lambda: False)
    assert replaced(by_onednn(made("bert"))) == 0


def test_what_gives_other_logits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OnednnLinear.forward
    monkeypatch.setattr(OnednnLinear, "forward", lambda self, given: 1.01 * right(self, given))
    model = made("bert")
    wanted = logits(model)
    assert replaced(by_onednn(model)) == 0
    assert torch.equal(logits(model), wanted)


@needs_onednn
def test_many_threads_may_call_a_model_at_once() -> None:
    model = by_onednn(made("bert"))
    assert replaced(model) == 14
    asked = [tuple(range(1, 40, step)) for step in range(1, 9)]
    wanted = [logits(model, lengths) for lengths in asked]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for found, right in zip(
                pool.map(lambda lengths: logits(model, lengths), asked), wanted, strict=True
            ):
                assert torch.allclose(found, right, atol=1e-6)


def raising(*_: object) -> torch.Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_a_torch_without_it_computes_as_it_does(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(OnednnLinear, method, raising)
    model = made("bert")
    assert replaced(by_onednn(model)) == 0
    assert torch.isfinite(logits(model)).all()


def test_a_model_that_asks_for_certain_tokens_stays_as_it_is() -> None:
    assert replaced(by_onednn(made("bart"))) == 0


def test_few_numbers_of_tokens_are_computed_and_little_is_filled_up() -> None:
    numbers = range(1, 2049)
    assert len({filled_up(tokens) for tokens in numbers}) == 35
    assert all(tokens <= filled_up(tokens) for tokens in numbers)
    assert all(filled_up(tokens) < tokens + 64 for tokens in numbers)
    assert [filled_up(tokens) for tokens in (1, 8, 9, 33, 64, 65)] == [8, 8, 16, 64, 64, 128]


@needs_onednn
def test_the_memory_stands_still_however_many_numbers_of_tokens_there_are() -> None:
    """oneDNN keeps what it compiled for each: here 0.6 MiB a number, if none were filled up."""
    layer = OnednnLinear(torch.nn.Linear(384, 1536), Filler())
    process = psutil.Process()
    before = 0
    with torch.inference_mode():
        for tokens in range(1, 1025, 3):
            layer(torch.ones(tokens, 384))
            if tokens == 256:
                before = process.memory_info().rss
    assert process.memory_info().rss - before < 60 * 2**20
