"""Linear layers in 8 bits: activations as a few hundred texts show them, weights by output channel.

In a transformer a few channels of an activation are far larger than the others, and one scale for
all would leave the small ones no bits. So their size is moved into the weights first, which have a
scale for each output: SmoothQuant (Xiao et al., 2023). What the block's non-linearity gives no
normalisation has evened out, and that is not enough: its largest channels are computed apart, as they
are, as in LLM.int8() (Dettmers et al., 2022). Everything between the linear layers stays as precise as
it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.openvino_runtime import openvino

#: How much of a channel's size goes into the weights; 0: none, 1: all of it.
SMOOTHING = 0.95

#: Non-linearities in the middle of a feed-forward block, and how many of their channels are computed
#: apart. With none, 94.5 % of the starter's labels on its 200 probes are those of fp32; with 4, 98 %.
_NON_LINEARITIES = frozenset(("Gelu", "Relu", "Swish", "HSwish", "Mish", "Sigmoid"))
CHANNELS_APART = 4

#: Levels of an activation (8 bits, asymmetric) and the largest weight (8 bits, symmetric).
_LEVELS = 256
_LARGEST_WEIGHT = 127

#: A channel that is always 0 needs some scale.
_SMALLEST = 1e-6

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Range:
    """The smallest and largest value of each channel, float32 [channels]."""

    low: Floats
    high: Floats

    def without(self, channels: Ints) -> "Range":
        """Return the ranges as if `channels` were always 0."""
        low, high = self.low.copy(), self.high.copy()
        low[channels] = high[channels] = 0
        return Range(low, high)


def quantise(model: Any, rows: Sequence[npt.NDArray[np.int64]]) -> int:
    """Make the linear layers of `model`, an `openvino.Model`, compute in 8 bits, in place.

    `rows` are the ids of texts like those that it will read, int64 [tokens] each. Returns the
    number of layers.
    """
    ops = openvino().opset13
    ranges = observed(model, rows)
    layers = 0
    for value, together in _by_input(model):
        weights = [_weight(layer) for layer in together]
        seen = ranges[_key(value)]
        factors = _smoothing(seen, weights)
        apart = _apart(value, seen)
        seen = seen.without(apart)
        activation = _eight_bits(value, factors, *_limits(seen, factors))
        for layer, weight in zip(together, weights, strict=True):
            rest = weight * factors
            rest[:, apart] = 0
            product = ops.matmul(activation, _stored_in_8_bits(rest), False, True)
            if len(apart):
                product = ops.add(product, _as_it_is(value, weight, apart))
            for target in list(layer.output(0).get_target_inputs()):
                target.replace_source_output(product.output(0))
            layers += 1
    _halve_tables(model)
    model.validate_nodes_and_infer_types()
    return layers


def _weight(layer: Any) -> Floats:
    return np.array(layer.input_value(1).get_node().data, dtype=np.float32)


def _apart(value: Any, seen: Range) -> Ints:
    """Return which channels of `value` are computed apart, int64 [channels]."""
    if value.get_node().get_type_name() not in _NON_LINEARITIES:
        return np.zeros(0, dtype=np.int64)
    size = np.maximum(np.abs(seen.low), np.abs(seen.high))
    return np.sort(np.argsort(size)[-CHANNELS_APART:]).astype(np.int64)


def _eight_bits(value: Any, factors: Floats, low: float, high: float) -> Any:
    """Return `value` divided by `factors` and put on 256 levels from `low` to `high`."""
    ops = openvino().opset13
    shape = [1] * (value.get_partial_shape().rank.get_length() - 1) + [-1]
    smooth = ops.multiply(value, ops.constant((1 / factors).reshape(shape)))
    ends = [ops.constant(np.float32(end)) for end in (low, high)]
    return ops.fake_quantize(smooth, *ends, *ends, _LEVELS)


def _stored_in_8_bits(weight: Floats) -> Any:
    """Return float32 [outputs, inputs] as 8 bits with a scale for each output."""
    ops = openvino().opset13
    scales = (np.abs(weight).max(axis=1, keepdims=True) / _LARGEST_WEIGHT).astype(np.float32)
    scales[scales == 0] = 1.0
    eight_bits = np.rint(weight / scales).astype(np.int8)
    return ops.multiply(ops.convert(ops.constant(eight_bits), np.float32), ops.constant(scales))


def _as_it_is(value: Any, weight: Floats, channels: Ints) -> Any:
    """Return what `channels` of `value` add to the product."""
    ops = openvino().opset13
    last = np.int64(value.get_partial_shape().rank.get_length() - 1)
    part = ops.gather(value, ops.constant(channels), ops.constant(last))
    return ops.matmul(part, ops.constant(weight[:, channels].copy()), False, True)


def _halve_tables(model: Any) -> None:
    """Store embeddings in 16 bits: most of a small model's bytes, and none of its arithmetic."""
    ops = openvino().opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather":
            continue
        table = node.input_value(0).get_node()
        if table.get_type_name() == "Constant" and table.data.dtype == np.float32:
            half = ops.constant(table.data.astype(np.float16))
            node.input(0).replace_source_output(ops.convert(half, np.float32).output(0))


def observed(model: Any, rows: Sequence[npt.NDArray[np.int64]]) -> dict[tuple[str, int], Range]:
    """Return the range of each channel of every linear layer's input over `rows`."""
    ov = openvino()
    ops = ov.opset13
    copy = model.clone()
    inputs = [value for value, _ in _by_input(copy)]
    results = []
    for value in inputs:
        but_channels = list(range(value.get_partial_shape().rank.get_length() - 1))
        results += [
            ops.result(reduced(value, but_channels, False))
            for reduced in (ops.reduce_min, ops.reduce_max)
        ]
    watching = ov.Model(results, copy.get_parameters(), "ranges")
    # Without bf16: what is looked for is the model's own range.
    compiled = ov.Core().compile_model(watching, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    low: list[Floats] = []
    high: list[Floats] = []
    # Text by text: padding is nothing that a text shows.
    for ids in rows:
        given = {"input_ids": ids[np.newaxis], "attention_mask": np.ones((1, len(ids)), np.int64)}
        found = request.infer(given)
        lows = [np.array(found[place]) for place in range(0, len(results), 2)]
        highs = [np.array(found[place]) for place in range(1, len(results), 2)]
        low = list(map(np.minimum, low, lows)) if low else lows
        high = list(map(np.maximum, high, highs)) if high else highs
    return {_key(value): Range(*ends) for value, *ends in zip(inputs, low, high, strict=True)}


def _by_input(model: Any) -> list[tuple[Any, list[Any]]]:
    """Return what linear layers read, each with the layers that read it (query, key, value)."""
    found: dict[tuple[str, int], tuple[Any, list[Any]]] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        value, weight = node.input_value(0), node.input_value(1)
        attributes = node.get_attributes()
        if (
            weight.get_node().get_type_name() == "Constant"
            and weight.get_partial_shape().rank.get_length() == 2
            and value.get_partial_shape().rank.is_static
            and attributes.get("transpose_b")
            and not attributes.get("transpose_a")
        ):
            found.setdefault(_key(value), (value, []))[1].append(node)
    return list(found.values())


def _key(value: Any) -> tuple[str, int]:
    return value.get_node().get_friendly_name(), value.get_index()


def _smoothing(seen: Range, weights: Sequence[Floats]) -> Floats:
    """Return by what each channel of an activation is divided, and its weights multiplied."""
    activation = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), _SMALLEST)
    weight = np.maximum(np.max([np.abs(each).max(axis=0) for each in weights], axis=0), _SMALLEST)
    factors: Floats = (activation**SMOOTHING / weight ** (1 - SMOOTHING)).astype(np.float32)
    return np.maximum(factors, np.float32(_SMALLEST))


def _limits(seen: Range, factors: Floats) -> tuple[float, float]:
    """Return the ends of 256 levels over what was seen, one of which is exactly 0."""
    low = min(float((seen.low / factors).min()), 0.0)
    high = max(float((seen.high / factors).max()), low + _SMALLEST)
    step = (high - low) / (_LEVELS - 1)
    below = round(-low / step)
    return -below * step, (_LEVELS - 1 - below) * step
