"""A model in 8 bits: the same model, pruned of what its head does not read, nearly the same logits."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from db.errors import RegistryError
from tests.tiny_models import WORDS, tiny_base
from worker.builds import Unbuildable
from worker.computing import padded
from worker.encoder import EncodedRows, TokenizerEncoder
from worker.engines.torch_engine import TorchEngine
from worker.int8.agreement import agreement
from worker.int8.converting import converted
from worker.int8.first_token import keep_first_token
from worker.int8.quantising import quantise
from worker.openvino_runtime import openvino

Ids = npt.NDArray[np.int64]


def texts(count: int) -> list[str]:
    """Texts of all lengths, no two the same."""
    chance = np.random.default_rng(1)
    return [" ".join(chance.choice(WORDS, 1 + number % 17)) for number in range(count)]


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert"])
def merged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of each architecture, as the registry keeps it once it is merged."""
    folder = tiny_base(tmp_path_factory.mktemp(request.param), request.param, spread=0.2)
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4)
    model.save_pretrained(folder)
    return folder


def rows_of(folder: Path, count: int = 64) -> list[Ids]:
    encoded = TokenizerEncoder(folder, 32).encode(texts(count))
    return [encoded.row(index).astype(np.int64) for index in range(count)]


def encoded(rows: Sequence[Ids]) -> EncodedRows:
    return EncodedRows.from_lists([row.tolist() for row in rows], [False] * len(rows))


def fp32(folder: Path, rows: Sequence[Ids]) -> npt.NDArray[np.float32]:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, mask = padded(encoded(rows), model.config.pad_token_id)
    with torch.inference_mode():
        found = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    return np.asarray(found.logits.numpy())


def logits(model: Any, folder: Path, rows: Sequence[Ids]) -> npt.NDArray[np.float32]:
    core = openvino().Core()
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    padding = TokenizerEncoder(folder, 32).padding_id
    ids, mask = padded(encoded(rows), padding)
    return np.array(compiled({"input_ids": ids, "attention_mask": mask})[0])


def layers_of_one_token(model: Any) -> int:
    """How many linear layers over a hidden state compute one token's row alone."""
    shapes = [
        node.get_output_partial_shape(0)
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.get_output_partial_shape(0).rank.get_length() == 3
    ]
    return sum(shape[1].get_max_length() == 1 for shape in shapes)


def first_token(model: Any) -> Any:
    """The operation that takes the first token of the last hidden state."""
    return next(
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Gather"
        and node.get_output_partial_shape(0).rank.get_length() == 2
        and node.input_value(0).get_partial_shape().rank.get_length() == 3
    )


def test_the_converted_model_gives_the_logits_of_the_model(merged: Path) -> None:
    rows = rows_of(merged)
    np.testing.assert_allclose(
        logits(converted(merged), merged, rows), fp32(merged, rows), atol=2e-5
    )


def test_a_config_that_asks_for_more_than_the_logits_gets_them_alone(
    merged: Path, tmp_path: Path
) -> None:
    rows = rows_of(merged)
    expected = fp32(merged, rows)
    folder = shutil.copytree(merged, tmp_path / "merged")
    config = json.loads((folder / "config.json").read_text())
    asked = {"output_hidden_states": True, "output_attentions": True, "return_dict": False}
    (folder / "config.json").write_text(json.dumps({**config, **asked}))
    model = converted(folder)
    assert len(model.outputs) == 1
    np.testing.assert_allclose(logits(model, folder, rows), expected, atol=2e-5)
    engine = TorchEngine(folder, 32, "cpu")
    ids, mask = padded(encoded(rows), engine.padding_id)
    np.testing.assert_allclose(engine.logits(ids, mask), expected, atol=2e-5)


def test_files_that_cannot_be_read_are_no_fault_of_the_architecture(
    merged: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(merged, tmp_path / "merged")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        RegistryError, match=r"/merged cannot be read: .*model\.safetensors"
    ) as raised:
        converted(folder)
    assert not isinstance(raised.value, Unbuildable)
    shutil.copy(merged / "model.safetensors", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(Unbuildable, match=r"cannot be converted to OpenVINO \(\w+\)"):
        converted(folder)


def test_the_last_layer_for_one_token_gives_the_same_logits(merged: Path) -> None:
    model, rows = converted(merged), rows_of(merged)
    assert layers_of_one_token(model) == 0
    assert keep_first_token(model)
    # The query, the output of the attention, and the two of the feed-forward block.
    assert layers_of_one_token(model) == 4
    np.testing.assert_allclose(logits(model, merged, rows), fp32(merged, rows), atol=2e-5)


def test_a_head_that_reads_another_token_keeps_its_whole_last_layer(merged: Path) -> None:
    model, rows = converted(merged), rows_of(merged)
    second = openvino().opset13.constant(np.int64(1))
    first_token(model).input(1).replace_source_output(second.output(0))
    before = logits(model, merged, rows)
    assert not keep_first_token(model)
    assert layers_of_one_token(model) == 0
    np.testing.assert_array_equal(logits(model, merged, rows), before)


def test_a_head_that_reads_the_mean_beside_the_first_token_keeps_its_whole_last_layer(
    merged: Path,
) -> None:
    model, rows = converted(merged), rows_of(merged)
    select, ops = first_token(model), openvino().opset13
    readers = list(select.output(0).get_target_inputs())
    both = ops.add(select.output(0), ops.reduce_mean(select.input_value(0), [1], False))
    for reader in readers:
        reader.replace_source_output(both.output(0))
    model.validate_nodes_and_infer_types()
    before = logits(model, merged, rows)
    assert not np.allclose(before, fp32(merged, rows), atol=1e-3)
    assert not keep_first_token(model)
    np.testing.assert_array_equal(logits(model, merged, rows), before)


def test_8_bits_leave_the_labels_as_they_are_and_a_quarter_of_the_bytes(
    merged: Path, tmp_path: Path
) -> None:
    model, rows = converted(merged), rows_of(merged, 256)
    keep_first_token(model)
    openvino().save_model(model, tmp_path / "fp32.xml", compress_to_fp16=False)
    layers = quantise(model, rows[:128])
    # Two layers of six, and the head's two.
    assert layers == 14
    openvino().save_model(model, tmp_path / "int8.xml", compress_to_fp16=False)
    of_a_layer = (4 * 32 * 32 + 2 * 32 * 64) * 3
    saved = (tmp_path / "fp32.bin").stat().st_size - (tmp_path / "int8.bin").stat().st_size
    assert saved > 1.5 * of_a_layer
    expected = fp32(merged, rows)
    found = logits(model, merged, rows)
    assert agreement(found[128:], expected[128:]).share > 0.97
    assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).max()
    assert not np.array_equal(found, expected)


def test_agreement_counts_rows_that_could_have_either_label_apart() -> None:
    fp32_logits = np.array([[2, 1], [1, 2], [1, 1.0005], [3, 0]], dtype=np.float32)
    found = np.array([[3, 1], [2, 1], [2, 1], [1, 0]], dtype=np.float32)
    compared = agreement(found, fp32_logits)
    assert (compared.rows, compared.close, compared.same) == (4, 1, 2)
    assert compared.share == pytest.approx(2 / 3)


def test_a_row_without_logits_agrees_with_nothing() -> None:
    fp32_logits = np.array([[2, 1], [2, 1], [np.nan, np.nan]], dtype=np.float32)
    found = np.array([[np.nan, np.nan], [2, 1], [2, 1]], dtype=np.float32)
    compared = agreement(found, fp32_logits)
    assert (compared.rows, compared.close, compared.same) == (3, 1, 1)
    # Nor is a build good of which nothing was seen.
    assert agreement(found[2:], fp32_logits[2:]).share == 0


def test_of_a_multi_label_model_every_label_must_be_the_same() -> None:
    fp32_logits = np.array(
        # The last two: one label may hold or not, and one row that fp32 has nothing of.
        [[3, 1, -2], [3, 1, -2], [3, 1, -2], [-1, -3, -2], [3, 0.0005, -2], [np.inf, 1, 1]],
        dtype=np.float32,
    )
    found = np.array(
        # As it is; another best label, and the same that hold; one that holds no more; two of none.
        [[3, 1, -2], [1, 3, -9], [3, -0.1, -2], [0.2, -3, -2], [3, -1, -2], [3, 1, 1]],
        dtype=np.float32,
    )
    compared = agreement(found, fp32_logits, multi_label=True)
    assert (compared.rows, compared.close, compared.same) == (6, 2, 2)
    assert compared.share == 2 / 4
    # By the best label alone: all but the second row.
    alone = agreement(found[:5], fp32_logits[:5])
    assert (alone.close, alone.same) == (0, 4)
    nothing = np.full_like(found, np.nan)
    assert agreement(nothing, fp32_logits, multi_label=True).same == 0
