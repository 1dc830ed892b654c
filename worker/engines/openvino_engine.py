"""The engine for CPUs: a build of the model in 8 bits, under OpenVINO."""

import logging
import queue
from pathlib import Path
from typing import Any

import numpy as np

from db.errors import RegistryError
from worker.encoder import TokenizerEncoder
from worker.engines.protocol import Ids, Logits
from worker.openvino_runtime import openvino
from worker.threads import (
    asked_threads,
    calls_at_once,
    fills_the_machine,
    micro_batch_tokens,
    usable_cpus,
)

log = logging.getLogger(__name__)

#: The graph, as `worker.build` writes it; its weights stand beside it, in model.bin.
GRAPH_FILE = "model.xml"

#: The best of the sizes tried on 2 cores with 1 MiB of second-level cache each: see docs/engines.md.
_TOKENS_A_THREAD = 768

#: Up to so many tokens a row, attention by single products is faster than as one fused piece, whose loops
#: are made for long rows where lengths are not fixed: see docs/engines.md.
_SHORT_ROWS = 128

#: Fuse nothing.
_UNFUSED = {"SNIPPETS_MODE": "DISABLE"}

#: What was compiled for so many shapes of each operation is kept. Rows and lengths make thousands of shapes, and
#: by itself OpenVINO keeps 5,000, each stream its own: a worker would grow for hours.
_KEPT_SHAPES = {"CPU_RUNTIME_CACHE_CAPACITY": "128"}


class OpenvinoEngine:
    """A build, compiled for this processor.

    `folder` holds model.xml, model.bin, config.json and tokenizer.json; `threads` as in
    `worker.threads.asked_threads`. Raises `RegistryError` for
    a build that cannot be read.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, folder: Path, max_length: int, threads: int | None = None) -> None:
        self.encoder = TokenizerEncoder(folder, max_length)
        self.padding_id = self.encoder.padding_id
        core = openvino().Core()
        allowed = asked_threads(threads) or usable_cpus()
        config = {
            # Each micro-batch on processors of its own: those that share one wait for each other a
            # hundred times a micro-batch, and long for one that somebody else uses, too.
            "NUM_STREAMS": str(calls_at_once(allowed)),
            "INFERENCE_NUM_THREADS": allowed,
            "ENABLE_CPU_PINNING": fills_the_machine(allowed),
            # What is not in 8 bits stays fp32 where a processor has bf16 too: it is hardly faster
            # between the linear layers, and labels do not depend on it.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = _compiled(core, folder / GRAPH_FILE, config, max_length)
        except RuntimeError as error:
            first = (str(error).strip().splitlines() or ["no reason given"])[-1]
            raise RegistryError(f"the build in {folder} cannot be loaded: {first}") from None
        #: As the compiled model has it, like how many it computes at once.
        self.threads: int = compiled.get_property("INFERENCE_NUM_THREADS")
        self.at_once: int = compiled.get_property("NUM_STREAMS")
        self.micro_batch_tokens = micro_batch_tokens(self.threads // self.at_once, _TOKENS_A_THREAD)
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.at_once):
            self._free.put(compiled.create_infer_request())

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        # By turns, so that as many warm-ups as there are requests are one for each.
        request = self._free.get()
        try:
            found = request.infer(given, share_inputs=True)
            return np.array(found[0], dtype=np.float32)
        finally:
            self._free.put(request)


def _compiled(core: Any, graph: Path, config: dict[str, Any], max_length: int) -> Any:
    """Compile a graph; raises `RuntimeError` for one that cannot be."""
    further = {**_KEPT_SHAPES, **(_UNFUSED if max_length <= _SHORT_ROWS else {})}
    try:
        return core.compile_model(core.read_model(graph), "CPU", {**config, **further})
    except RuntimeError as error:
        # OpenVINO has no public names for them, and may know others one day.
        log.info("compiled without %s (%s)", ", ".join(further), str(error).strip()[-200:])
    return core.compile_model(core.read_model(graph), "CPU", config)
