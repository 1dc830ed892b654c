"""What a machine could do at best: its arithmetic in fp32 and in 8 bits, and a model's need of it.

`python -m benchmarks.roofline [SIDE]` multiplies large matrices on all processors, by torch in fp32 and by
OpenVINO in 8 bits, and prints one JSON object: billions of operations a second. A row needs no more than
its linear layers and its attention; what else a model does, and reads from memory, is left out, so that
no engine can be faster that does all of the arithmetic.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Rows and columns of the matrices: what a product reads and writes is little beside its arithmetic.
SIDE = 4096

#: Products that are computed after a first one; the fastest counts.
PRODUCTS = 10


@dataclass(frozen=True)
class Roofline:
    """Billions of operations a second, and the rows of a model that these would be.

    In 8 bits None on a processor for which OpenVINO has no such product.
    """

    mflop_a_row: float
    fp32_gflops: float
    int8_gops: float | None

    @property
    def fp32_rows(self) -> float:
        """Rows a second in fp32."""
        return self.fp32_gflops * 1e3 / self.mflop_a_row

    @property
    def int8_rows(self) -> float | None:
        """Rows a second in 8 bits."""
        return self.int8_gops * 1e3 / self.mflop_a_row if self.int8_gops else None


def flop_a_row(config: Mapping[str, Any], lengths: Sequence[int]) -> float:
    """Return the operations of a row of so many tokens, in the mean over `lengths`.

    `config` is an encoder's config.json (BERT, RoBERTa). A multiplication and an addition are two
    operations. By token and layer: queries, keys, values and the attention's output 8 h^2, the
    feed-forward block 4 h i, scores and weighted sum 4 h for each token that it looks at; by row the
    classifier's two layers on the first token.
    """
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tokens = np.asarray(lengths, dtype=np.float64)
    linear = tokens.mean() * (8 * hidden**2 + 4 * hidden * inner)
    attention = (tokens**2).mean() * 4 * hidden
    head = 2 * hidden**2 + 2 * hidden * len(config["id2label"])
    return float(config["num_hidden_layers"] * (linear + attention) + head)


def fp32_gflops(side: int = SIDE) -> float:
    """Return billions of operations a second of a product in fp32, by torch.

    In the faster of the ways in which the engine computes linear layers: torch's own, and oneDNN's. The
    right matrix has a quarter of the columns: what comes of a larger one is memory that the system clears anew
    for each product.
    """
    import torch

    from worker.engines.onednn import Filler, OnednnLinear
    from worker.threads import usable_cpus

    torch.set_num_threads(usable_cpus())
    columns = side // 4
    given = torch.rand(side, side)
    linear = torch.nn.Linear(side, columns, bias=False)
    with torch.inference_mode():
        seconds = [_fastest(lambda: linear(given))]
        with suppress(Exception):
            # No part of what torch promises; where it has none, the engine has none either.
            other = OnednnLinear(linear, Filler())
            seconds.append(_fastest(lambda: other(given)))
    return 2 * side**2 * columns / min(seconds) / 1e9


def int8_gops(side: int = SIDE) -> float | None:
    """Return billions of operations a second of a product in 8 bits, by OpenVINO.

    Putting the left matrix on 256 levels is in the time, as it is in an engine. None where the
    product would run in fp32.
    """
    from worker.openvino_runtime import openvino
    from worker.threads import usable_cpus

    ov = openvino()
    ops = ov.opset13
    chance = np.random.default_rng(1)
    given = ops.parameter([side, side], np.float32)
    ends = [ops.constant(np.float32(end)) for end in (-1.0, 1.0)]
    levels = ops.fake_quantize(given, *ends, *ends, 256)
    eight_bits = ops.constant(chance.integers(-127, 128, (side, side)).astype(np.int8))
    scales = ops.constant(np.full((side, 1), 1 / 127, np.float32))
    weight = ops.multiply(ops.convert(eight_bits, np.float32), scales)
    model = ov.Model([ops.result(ops.matmul(levels, weight, False, True))], [given], "product")
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": usable_cpus(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(model, "CPU", config)
    if not _is_in_8_bits(compiled):
        return None
    request = compiled.create_infer_request()
    values = chance.uniform(-1, 1, (side, side)).astype(np.float32)
    fastest = _fastest(lambda: request.infer([values], share_inputs=True))
    return 2 * side**3 / fastest / 1e9


def _is_in_8_bits(compiled: Any) -> bool:
    """Whether the one product of a compiled model is computed in 8 bits."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = {
        str(each["layerType"].astype(str)): str(each["primitiveType"].astype(str)) for each in told
    }
    product = kinds.get("FullyConnected") or kinds.get("MatMul") or ""
    return product.endswith("I8")


def _fastest(product: Callable[[], object]) -> float:
    """Return the seconds of the fastest of some products."""
    product()
    times: list[float] = []
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        product()
        times.append(time.perf_counter() - started)
    return min(times)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of the model in `folder`."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


if __name__ == "__main__":
    side = int(sys.argv[1]) if len(sys.argv) > 1 else SIDE
    print(json.dumps({"fp32_gflops": fp32_gflops(side), "int8_gops": int8_gops(side)}))
