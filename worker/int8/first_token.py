"""The last layer for the first token alone, where that is all the head reads.

A classifier on the first token ([CLS], <s>) drops every other row of the last layer. Up to that
layer's attention all tokens are needed, for keys and values; its queries, its output and its
feed-forward block are needed for one. Of a model of L layers that is most of a layer's work: an L-th
of the whole.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from worker.openvino_runtime import openvino

#: Operations that treat each token by itself, on whatever axis the tokens are.
_ELEMENTWISE = frozenset(
    ("Add", "Subtract", "Multiply", "Divide", "Gelu", "Relu", "Tanh", "Swish", "Sigmoid", "Convert")
)

#: The axis of the tokens in a hidden state, [rows, tokens, features].
_TOKENS = 1


def keep_first_token(model: Any) -> bool:
    """Let the last layer of `model` compute only what its first token needs, in place.

    The logits stay the same. Returns False, changing nothing, for a graph in which that cannot be
    shown: another pooling, another attention than the fused one, an operation not known here.
    """
    select = _selection(model)
    if select is None:
        return False
    attention = _last_attention(select.input_value(0).get_node())
    if attention is None:
        return False
    # What keys, values and mask come from is needed for all tokens.
    whole = {
        name
        for place in (1, 2, 3)[: attention.get_input_size() - 1]
        for name in _ancestors(attention.input_value(place).get_node())
    }
    cuts: list[tuple[Any, int]] = []
    path: dict[str, Any] = {}
    if not _follow(select.input_value(0).get_node(), _TOKENS, whole, cuts, path):
        return False
    if _read_elsewhere(path, select):
        return False
    ops = openvino().opset13
    for target, axis in cuts:
        first = ops.slice(target.get_source_output(), [0], [1], [1], [axis])
        target.replace_source_output(first.output(0))
    model.validate_nodes_and_infer_types()
    return True


def _selection(model: Any) -> Any | None:
    """Return the one operation that takes the first token of a hidden state."""
    found = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Gather"
        and node.input_value(0).get_partial_shape().rank.is_static
        and node.input_value(0).get_partial_shape().rank.get_length() == 3
        and _constant(node.input_value(1)) == [0]
        and _constant(node.input_value(2)) == [_TOKENS]
    ]
    return found[0] if len(found) == 1 else None


def _last_attention(node: Any) -> Any | None:
    """Return the attention nearest to `node` among what it is made from."""
    level, seen = [node], set()
    while level:
        above = []
        for each in level:
            if each.get_type_name() == "ScaledDotProductAttention":
                return each
            if each.get_name() not in seen:
                seen.add(each.get_name())
                above += [value.get_node() for value in each.input_values()]
        level = above
    return None


def _ancestors(node: Any) -> Iterator[str]:
    level, seen = [node], set()
    while level:
        each = level.pop()
        name = each.get_name()
        if name not in seen:
            seen.add(name)
            yield name
            level += [value.get_node() for value in each.input_values()]


def _follow(
    node: Any, axis: int, whole: set[str], cuts: list[tuple[Any, int]], path: dict[str, Any]
) -> bool:
    """Walk up from `node`, whose tokens are on `axis`, and note where to cut; False: not possible.

    `path` gets the nodes that will compute one token, by name.
    """
    if node.get_name() in path:
        return True
    path[node.get_name()] = node
    inputs = _row_wise_inputs(node, axis)
    if inputs is None:
        return False
    for place, its_axis in inputs:
        above = node.input_value(place).get_node()
        if above.get_name() in whole:
            cuts.append((node.input(place), its_axis))
        elif not _follow(above, its_axis, whole, cuts, path):
            return False
    return True


def _read_elsewhere(path: dict[str, Any], select: Any) -> bool:
    """Whether anything but `select` reads what will be one token: a mean of all, another output."""
    readers = {
        target.get_node().get_name()
        for node in path.values()
        for output in node.outputs()
        for target in output.get_target_inputs()
    }
    return not readers <= {*path, select.get_name()}


def _row_wise_inputs(node: Any, axis: int) -> list[tuple[int, int]] | None:
    """Return the inputs that have tokens, each with its axis; None if `node` mixes tokens."""
    kind = node.get_type_name()
    values = node.input_values()
    if kind in _ELEMENTWISE:
        rank = node.get_output_partial_shape(0).rank.get_length()
        # Shapes are aligned at their ends; what is constant or shorter is the same for all tokens.
        ranks = [value.get_partial_shape().rank.get_length() for value in values]
        return [
            (place, axis - (rank - its))
            for place, (value, its) in enumerate(zip(values, ranks, strict=True))
            if axis >= rank - its and _constant(value) is None
        ]
    if kind == "MatMul":
        plain = not node.get_attributes().get("transpose_a", False)
        # On the last axis, what is summed over are the tokens.
        rank = values[0].get_partial_shape().rank.get_length()
        same = node.get_output_partial_shape(0).rank.get_length() == rank
        layer = plain and same and axis < rank - 1 and _constant(values[1]) is not None
        return [(0, axis)] if layer else None
    if kind == "MVN":
        rank = values[0].get_partial_shape().rank.get_length()
        reduced = [each % rank for each in _constant(values[1]) or [axis]]
        return None if axis in reduced else [(0, axis)]
    if kind == "Transpose":
        order = _constant(values[1])
        return None if order is None else [(0, int(order[axis]))]
    if kind == "Reshape":
        # 0 copies a dimension. With the tokens' and all before it copied, the rest is each token's.
        shape = _constant(values[1])
        copied = node.get_attributes().get("special_zero", False)
        if shape is None or not copied or shape[axis] != 0:
            return None
        old = values[0].get_partial_shape()
        keeps = all(shape[place] in (0, _static(old[place])) for place in range(axis))
        return [(0, axis)] if keeps else None
    if kind == "ScaledDotProductAttention":
        rank = node.get_output_partial_shape(0).rank.get_length()
        if node.get_attributes().get("causal", False) or axis != rank - 2:
            return None
        found = [(0, axis)]
        if node.get_input_size() > 3:
            mask = values[3].get_partial_shape().rank.get_length()
            found.append((3, mask - 2))
        return found
    return None


def _static(dimension: Any) -> int | None:
    return dimension.get_length() if dimension.is_static else None


def _constant(value: Any) -> Sequence[Any] | None:
    node = value.get_node()
    if node.get_type_name() != "Constant":
        return None
    found: list[Any] = node.data.reshape(-1)[:16].tolist()
    return found
