"""Linear layers by oneDNN: the same logits, or the model as it was."""

from typing import Any

import pytest
import torch

from tests.worker.chance_models import made, rows_of
from worker.engines import onednn
from worker.engines.onednn import OnednnLinear, by_onednn


def logits(model: Any) -> torch.Tensor:
    ids, mask = rows_of([5, 48, 1, 20], model.config.pad_token_id)
    with torch.inference_mode():
        found: torch.Tensor = model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits
    return found


def replaced(model: Any) -> int:
    return sum(isinstance(each, OnednnLinear) for each in model.modules())


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever processor this is, and however small these models are."""
    monkeypatch.setattr(onednn, "_WORTH", float("inf"))


@pytest.mark.parametrize(
    ("kind", "layers"), [("bert", 14), ("roberta", 14), ("distilbert", 14), ("deberta-v2", 14)]
)
def test_the_logits_stay_the_same(kind: str, layers: int) -> None:
    model = made(kind)
    wanted = logits(model)
    assert by_onednn(model) is model
    assert replaced(model) == layers
    assert torch.allclose(logits(model), wanted, atol=1e-4)


def test_where_it_is_not_faster_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_WORTH", 0.0)
    assert replaced(by_onednn(made("bert"))) == 0


def test_what_gives_other_logits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OnednnLinear.forward
    monkeypatch.setattr(OnednnLinear, "forward", lambda self, given: 1.01 * right(self, given))
    model = made("bert")
    wanted = logits(model)
    assert replaced(by_onednn(model)) == 0
    assert torch.equal(logits(model), wanted)


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
