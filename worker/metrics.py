"""What Prometheus is told of this process: counted where it happens, always, for counting costs nothing.

Names and units follow Prometheus's conventions. No label holds anything of a text or of a job: their
values are few.
"""

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

#: Everything that `/metrics` shows.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

#: Rows that this process labelled or rejected, when they were in their table.
ROWS = Counter(
    "labelstream_rows",
    "Rows that this worker has labelled or rejected, by what labelled them.",
    ["outcome", "model", "model_version", "engine"],
    registry=REGISTRY,
)
CHUNKS = Counter(
    "labelstream_chunks",
    "Chunks that this worker has closed, handed back, or lost to another worker.",
    ["outcome"],
    registry=REGISTRY,
)
_MICRO_BATCH_SECONDS = Histogram(
    "labelstream_micro_batch_seconds",
    "Seconds that a micro-batch took in the engine.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
_MICRO_BATCH_TOKENS = Histogram(
    "labelstream_micro_batch_tokens",
    "Tokens of a micro-batch, without padding.",
    buckets=(64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
    registry=REGISTRY,
)
QUEUE_WAIT_SECONDS = Histogram(
    "labelstream_queue_wait_seconds",
    "Seconds that the oldest row of a micro-batch had waited in this process for its turn.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
_TOKENS = Counter("labelstream_tokens", "Tokens that the engine has computed.", registry=REGISTRY)
_PADDED_TOKENS = Counter(
    "labelstream_padded_tokens",
    "The same with the padding; 1 - tokens / padded_tokens is the padding's share.",
    registry=REGISTRY,
)
REUSED_ROWS = Counter(
    "labelstream_reused_rows",
    "Rows that the engine need not compute: equal to one beside them, or remembered.",
    ["how"],
    registry=REGISTRY,
)
SWAPS = Counter(
    "labelstream_swaps",
    "Times that another version began to serve an alias.",
    ["model"],
    registry=REGISTRY,
)
REFUSALS = Counter(
    "labelstream_refusals",
    "Times that a version could not be loaded.",
    ["model"],
    registry=REGISTRY,
)


def count_micro_batch(lengths: npt.NDArray[np.int64], seconds: float) -> None:
    """Count a micro-batch whose computed rows had these lengths, int64 [rows]; none were: no batch."""
    if not len(lengths):
        return
    tokens = int(lengths.sum())
    _MICRO_BATCH_SECONDS.observe(seconds)
    _MICRO_BATCH_TOKENS.observe(tokens)
    _TOKENS.inc(tokens)
    _PADDED_TOKENS.inc(len(lengths) * int(lengths.max()))
