"""How large a micro-batch should be: rows a second, and how much of them is padding, by its tokens.

`python -m benchmarks.micro_batches DATA [--engine auto] [--tokens 512 768 1024 2048] [--chunks 4]
[--rows 5000] [--rounds 5]`: the engine alone, in one process, as a worker has it: `--chunks` chunks of 256
texts of DATA are on their way at a time, tokenising included, and the rows of those that wait are packed
into micro-batches of so many padded tokens at the most. The sizes take turns; rows a second are medians.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from db.defaults import CHUNK_ROWS
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings, get_settings
from db.store import open_store
from training.building import data_texts
from training.data import read_data
from worker.engine_threads import EngineThreads
from worker.engines.protocol import Engine, Ids, Logits
from worker.preparing import prepare
from worker.serving import Loader

MODEL = "emotion:1"

#: What each size computes before its clock starts.
WARM_UP = ("a short text", "and one that is somewhat longer than the other one is")


class Counting:
    """An engine that counts what it is given; everything else is the engine's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.device = engine.name, engine.device
        self.at_once, self.micro_batch_tokens = engine.at_once, engine.micro_batch_tokens
        self.encoder, self.padding_id = engine.encoder, engine.padding_id
        #: Of each call: its padded tokens, and those of them that are no padding.
        self.calls: list[tuple[int, int]] = []

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return the engine's logits."""
        self.calls.append((input_ids.size, int(attention_mask.sum())))
        return self._engine.logits(input_ids, attention_mask)


def seconds_of(
    engine: Engine, version: Version, tokens: int, texts: Sequence[str], chunks: int
) -> float:
    """Return the seconds of all `texts` in micro-batches of so many tokens."""
    threads = EngineThreads(lambda _: engine, budget=tokens, limit=None, warm_up=WARM_UP)
    threads.start()
    portions = [texts[start : start + CHUNK_ROWS] for start in range(0, len(texts), CHUNK_ROWS)]
    with threads.bind(version) as binding, ThreadPoolExecutor(chunks) as pool:

        def labelled(portion: Sequence[str]) -> None:
            threads.submit(binding, binding.encode(list(portion))).result()

        started = time.monotonic()
        list(pool.map(labelled, portions))
        seconds = time.monotonic() - started
    threads.stop()
    return seconds


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 768, 1024, 2048])
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(
            _env_file=None,
            home_dir=Path(home),
            device=get_settings().device,
            engine=asked.engine,
        )
        with closing(open_store(settings)) as store:
            prepare(store, settings)
            version = resolve(store, parse_ref(MODEL))
            data = read_data(asked.data, store=store)
            texts = [*data_texts(version, data).check, *data.train.texts]
            engine = Loader(store, settings).load(version)
        distinct = list(dict.fromkeys(texts))[: asked.rows]
        seconds: dict[int, list[float]] = defaultdict(list)
        padding: dict[int, float] = {}
        for number in range(asked.rounds):
            # The one that is first in a round is last in the next.
            for tokens in asked.tokens[:: -1 if number % 2 else 1]:
                counting = Counting(engine)
                seconds[tokens].append(
                    seconds_of(counting, version, tokens, distinct, asked.chunks)
                )
                padded, real = map(sum, zip(*counting.calls, strict=True))
                padding[tokens] = 1 - real / padded
    print(
        f"{len(distinct):,} distinct texts, {asked.chunks} chunks of {CHUNK_ROWS} at a time; engine "
        f"{engine.name} on {engine.device}, {engine.at_once} at once; medians of {asked.rounds} rounds "
        f"by turns; by itself it takes {engine.micro_batch_tokens:,} tokens"
    )
    print(f"{'tokens':>8}{'rows/s':>9}{'padding':>9}")
    for tokens in asked.tokens:
        rate = len(distinct) / statistics.median(seconds[tokens])
        print(f"{tokens:8,}{rate:9,.0f}{padding[tokens]:9.1%}")


if __name__ == "__main__":
    main()
