"""The parts of the recipe: dropout, the average of the weights, rates, class weights, patience."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from db.errors import UsageError
from tests.training.test_fit import TINY, one_thread, write_data
from training.averaging import WeightAverage
from training.data import read_data
from training.dropout import ByteDropout, quicken_dropout
from training.epochs import Epoch, chosen_epoch, out_of_patience
from training.fit import balanced_weights, fit, rate
from training.metrics import Metrics

__all__ = ["one_thread"]


@pytest.mark.parametrize("asked", [0.1, 0.5])
def test_dropout_drops_the_share_it_names_and_scales_the_rest(asked: float) -> None:
    torch.manual_seed(1)
    dropout = ByteDropout(asked)
    dropped = dropout(torch.ones(1000, 999))
    share = round(asked * 256) / 256
    values = torch.unique(dropped)
    assert values.tolist() == pytest.approx([0.0, 1 / (1 - share)])
    # The standard error of a share of 999,000 draws is at most 0.0005.
    assert (dropped == 0).double().mean().item() == pytest.approx(share, abs=0.003)
    # Columns and rows alike: no byte of the eight is drawn otherwise than its neighbours.
    assert (dropped == 0).double().mean(dim=0).std().item() < 0.02


def test_dropout_is_nothing_when_the_model_serves_and_passes_gradients() -> None:
    dropout = ByteDropout(0.5)
    given_ = torch.ones(64, 64, requires_grad=True)
    made = dropout(given_)
    made.sum().backward()
    assert given_.grad is not None
    assert torch.equal(given_.grad, made.detach())
    assert torch.equal(dropout.eval()(given_), given_)


def test_dropout_draws_anew_each_time_and_the_same_from_one_seed() -> None:
    dropout = ByteDropout(0.5)
    ones = torch.ones(100, 100)
    torch.manual_seed(3)
    first, second = dropout(ones), dropout(ones)
    torch.manual_seed(3)
    assert torch.equal(dropout(ones), first)
    assert not torch.equal(first, second)


def test_every_dropout_of_a_model_is_replaced_at_its_own_rate() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)))
    quicken_dropout(model)
    found = [each for each in model.modules() if isinstance(each, nn.Dropout)]
    assert [(type(each), each.p) for each in found] == [(ByteDropout, 0.1), (ByteDropout, 0.3)]


def test_the_average_is_the_textbook_one_and_the_weights_come_back() -> None:
    weight = nn.Parameter(torch.zeros(1))
    average = WeightAverage({"weight": weight}, decay=0.9)
    expected = 0.0
    for step in range(1, 200):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.average["weight"].item() == pytest.approx(expected, rel=1e-5)
    with average.applied():
        assert weight.item() == pytest.approx(expected, rel=1e-5)
    assert weight.item() == 199.0


def test_an_average_without_decay_is_the_weights() -> None:
    weight = nn.Parameter(torch.zeros(3))
    average = WeightAverage({"weight": weight}, decay=0.0)
    with torch.no_grad():
        weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    average.update(1)
    assert torch.equal(average.average["weight"], weight)


@given(steps=st.integers(1, 5000), share=st.floats(0, 0.5))
def test_the_rate_rises_once_and_then_falls_to_almost_nothing(steps: int, share: float) -> None:
    rates = np.array([rate(step, steps, share) for step in range(1, steps + 1)])
    assert np.all((rates > 0) & (rates <= 1))
    peak = int(rates.argmax())
    assert np.all(np.diff(rates[: peak + 1]) > 0)
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] <= 3 / steps


def test_rare_labels_weigh_as_much_as_frequent_ones(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("".join(f"text {n};{'ab'[n % 4 == 0]}\n" for n in range(8)))
    (tmp_path / "val.txt").write_text("one;a\ntwo;b\n")
    data = read_data(str(tmp_path))
    assert balanced_weights(data) == pytest.approx([8 / (2 * 6), 8 / (2 * 2)])


def epoch(number: int, macro_f1: float) -> Epoch:
    return Epoch(number, 0.1, Metrics(1, macro_f1, macro_f1, (), ()), 1.0)


def test_of_equal_epochs_the_first_is_kept_and_patience_counts_from_it() -> None:
    epochs = [epoch(1, 0.5), epoch(2, 0.7), epoch(3, 0.7), epoch(4, 0.6)]
    assert chosen_epoch(epochs).number == 2
    assert not out_of_patience(epochs, 3)
    assert out_of_patience(epochs, 2)
    assert not out_of_patience(epochs, 0)
    assert not out_of_patience([], 2)


def test_a_fit_out_of_patience_ends_early(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    # At this rate nothing is learnt: the first epoch stays the best.
    config = replace(TINY, epochs=9, patience=2, learning_rate=1e-12)
    assert [each.number for each in fit(data, config).epochs] == [1, 2, 3]


def test_summed_batches_are_one_batch_to_the_optimiser(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    steps: list[int] = []
    fit(data, replace(TINY, accumulate=2), on_step=lambda _e, _s, of, _l: steps.append(of))
    # 36 rows are 5 batches of 8, so 3 steps.
    assert steps == [3, 3, 3]


def test_a_layer_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    with pytest.raises(UsageError, match=r"no layer called q_proj: its layers are .*query"):
        fit(data, replace(TINY, target_modules=("query", "q_proj")))


@pytest.mark.parametrize(
    "options", [{"rslora": True}, {"dora": True}, {"target_modules": ("query",)}]
)
def test_other_shapes_of_lora_train_and_load(tmp_path: Path, options: dict[str, object]) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    done = fit(data, replace(TINY, **options))  # type: ignore[arg-type]
    lora = done.model.peft_config["default"].to_dict()
    assert lora["use_rslora"] is options.get("rslora", False)
    assert lora["use_dora"] is options.get("dora", False)
    assert done.target_modules == options.get("target_modules", ("query", "key", "value", "dense"))
