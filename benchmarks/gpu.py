"""What a GPU does with a model, by each way to call it, by itself and from CSV to SQL, and what it waits for.

`python -m benchmarks.gpu [--device cuda:0] [--shapes narrow wide] [--ways padded packed recorded]
[--rows 50000] [--rounds 3] [--tokens 32768] [--chunks 4] [--no-end-to-end]`. The shapes: `narrow` is the starter (6 layers, width 384);
`wide` has the sizes of distilroberta-base (6 layers, width 768), weights by chance and the starter's
tokenizer. Texts are made, distinct and like tweets (`benchmarks.made_tweets`). The columns, each rows/s of a
median of rounds by turns:

forward     ids are ready; micro-batches of `--tokens` padded tokens, in order of length, two at a time
alone       tokenising included, as a worker has it: `--chunks` chunks of 256 rows on their way at a time
end to end  a producer and a worker with the engine `torch`, SQLite, nothing remembered (its own way alone)

`far` is how far the logits are in the mean from fp32 on the CPU, for 512 of the texts, and `as fp32` the share
of their labels that are the same. At last, what the GPU's time goes to, by the last of `--ways`, and the
processor time of each process end to end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_tweets import made_tweets
from benchmarks.micro_batches import seconds_of
from benchmarks.scale_runs import Ground, labelled, prepared
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import open_store
from tests.cluster import BIN, clean_environment
from worker.computing import padded
from worker.encoder import EncodedRows
from worker.engines.fastest import FastestForward, Way
from worker.engines.gpu_forward import GpuForward
from worker.engines.protocol import Engine, Ids, Logits
from worker.engines.torch_engine import TorchEngine
from worker.engines.torch_model import load_model
from worker.int8.agreement import agreement
from worker.microbatch import WaitingRows
from worker.serving import ensure_merged

Forward = Callable[[Ids, Ids], Logits]

SHAPES = {"narrow": "emotion:1", "wide": "wide:1"}
WAYS: tuple[Way, ...] = ("padded", "packed", "recorded")

#: Texts whose logits are compared with fp32's.
COMPARED = 512

#: Kernels that the profile names.
NAMED = 12


@dataclass(frozen=True)
class Called:
    """A model on a device, called in one way, as an engine."""

    of: TorchEngine
    forward: Forward
    at_once: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return the logits by this way."""
        return self.forward(input_ids, attention_mask)


def called(folder: Path, version: Version, device: str, way: Way) -> Engine:
    """Load the model in `folder` so that it is called in one way; says so if it is another."""
    engine = TorchEngine(folder, version.max_length, "cpu")
    forward, found, at_once = _called(load_model(folder), version.max_length, device, way)
    if found != way:
        print(f"{version}: rows are not {way} here, but {found}", file=sys.stderr)
    return Called(engine, forward, at_once)


def _called(model: Any, longest: int, device: str, way: Way) -> tuple[Forward, Way, int]:
    if device != "cpu":
        on_gpu = GpuForward(model, device, longest, way)
        return on_gpu, on_gpu.way, 2
    on_cpu = FastestForward(model, device, longest, None, fastest=way)

    def forward(ids: Ids, mask: Ids) -> Logits:
        return np.asarray(on_cpu.compute(on_cpu.laid_out(ids, mask)).float().numpy())

    return forward, on_cpu.way, 1


def wide_model(folder: Path, narrow: Path) -> Path:
    """Write a classifier of the sizes of distilroberta-base, with the tokenizer of the starter."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForSequenceClassification

    small = AutoConfig.from_pretrained(narrow, local_files_only=True)
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    config = BertConfig(**{**small.to_dict(), **sizes, "num_hidden_layers": 6})
    torch.manual_seed(1)
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(narrow, local_files_only=True).save_pretrained(folder)
    return folder


@contextmanager
def registered(shapes: Sequence[str]) -> Iterator[tuple[Ground, dict[str, tuple[Version, Path]]]]:
    """Give a registry with the models of `shapes`, each merged, and the folders of these."""
    with prepared({"sqlite": None}) as ground:
        url = ground.templates["sqlite"]
        settings = Settings(
            _env_file=None, database_url=url, home_dir=ground.folder / "home",
            registry_dir=str(ground.registry), device="cpu",
        )  # fmt: skip
        with closing(open_store(settings)) as store:
            narrow = resolve(store, parse_ref(SHAPES["narrow"]))
            if "wide" in shapes:
                wide = wide_model(ground.folder / "wide", ensure_merged(store, settings, narrow))
                subprocess.run(
                    [BIN / "training", "register", wide, "--model", "wide"],
                    env=clean_environment(
                        LABELSTREAM_DATABASE_URL=url,
                        LABELSTREAM_HOME_DIR=str(settings.home_dir),
                        LABELSTREAM_REGISTRY_DIR=str(ground.registry),
                        LABELSTREAM_DEVICE="cpu",
                    ),
                    stdout=subprocess.DEVNULL, check=True,
                )  # fmt: skip
            versions = {shape: resolve(store, parse_ref(SHAPES[shape])) for shape in shapes}
            folders = {
                shape: (version, ensure_merged(store, settings, version))
                for shape, version in versions.items()
            }
        yield ground, folders


def forward_seconds(
    engine: Engine,
    rows: EncodedRows,
    tokens: int,
    around: AbstractContextManager[object] | None = None,
) -> float:
    """Return the seconds of all `rows` in micro-batches of so many padded tokens, as many as it does at once.

    `around` stands around these.
    """
    waiting = WaitingRows()
    waiting.add(np.arange(len(rows)), rows.lengths, 0.0)
    batches = []
    while len(waiting):
        batches.append(padded(rows.taken(np.sort(waiting.take(tokens))), engine.padding_id))
    with ThreadPoolExecutor(engine.at_once) as pool:
        list(pool.map(lambda batch: engine.logits(*batch), batches[:4]))
        with around or nullcontext():
            started = time.monotonic()
            list(pool.map(lambda batch: engine.logits(*batch), batches))
            return time.monotonic() - started


def profiled(engine: Engine, rows: EncodedRows, tokens: int) -> str:
    """Return what the device's time goes to, and how much of the time it has something to do."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(ProfilerActivity.CUDA)
    # A profile is its own context; it is read when that has ended.
    found = profile(activities=kinds)
    seconds = forward_seconds(engine, rows, tokens, found)
    # Of a step on the CPU it would tell the time of its kernels, which have entries of their own.
    kernels = [
        each for each in found.key_averages() if each.device_type == torch.profiler.DeviceType.CUDA
    ]
    kernels.sort(key=lambda each: -each.self_device_time_total)
    busy = sum(each.self_device_time_total for each in kernels) / 1e6
    lines = [
        f"{each.self_device_time_total / 1e6 / seconds:6.1%} {each.count:6,} x {each.key[:100]}"
        for each in kernels[:NAMED]
    ]
    lines.append(f"{busy / seconds:6.1%} of {seconds:.2f} s the device has something to do")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda:0")
    add("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add("--rows", type=int, default=50_000)
    add("--rounds", type=int, default=3)
    add("--tokens", type=int, default=32_768)
    add("--chunks", type=int, default=4)
    add("--no-end-to-end", action="store_true")
    asked = parser.parse_args()
    texts = list(made_tweets(asked.rows))
    with registered(asked.shapes) as (ground, models):
        for shape, (version, folder) in models.items():
            measure(asked, shape, version, folder, texts)
            if not asked.no_end_to_end:
                end_to_end(asked, ground, shape)


def measure(
    asked: argparse.Namespace, shape: str, version: Version, folder: Path, texts: Sequence[str]
) -> None:
    """Print a line for each way to call one model."""
    plain = TorchEngine(folder, version.max_length, "cpu")
    rows = plain.encoder.encode(list(texts))
    compared = padded(rows.taken(np.arange(min(COMPARED, len(rows)))), plain.padding_id)
    wanted = plain.logits(*compared)
    engines = {way: called(folder, version, asked.device, way) for way in asked.ways}
    forward, alone = defaultdict(list), defaultdict(list)
    for _ in range(asked.rounds):
        for way, engine in engines.items():
            forward[way].append(forward_seconds(engine, rows, asked.tokens))
            alone[way].append(seconds_of(engine, version, asked.tokens, texts, asked.chunks))
    print(
        f"\n{shape}: {len(rows):,} rows of {rows.lengths.mean():.1f} tokens on {asked.device}, "
        f"{os.cpu_count()} CPUs, medians of {asked.rounds} rounds"
    )
    print(f"{'way':<10}{'forward':>10}{'alone':>10}{'far':>8}{'as fp32':>9}")
    for way, engine in engines.items():
        found = engine.logits(*compared)
        far, same = float(np.abs(found - wanted).mean()), agreement(found, wanted).share
        rates = (len(rows) / statistics.median(each[way]) for each in (forward, alone))
        print(f"{way:<10}" + "".join(f"{rate:10,.0f}" for rate in rates) + f"{far:8.4f}{same:9.2%}")
    print(profiled(engines[asked.ways[-1]], rows, asked.tokens))


def end_to_end(asked: argparse.Namespace, ground: Ground, shape: str) -> None:
    """Print what a producer and a worker do with one model, and what each spends."""
    settings = {"LABELSTREAM_DEVICE": asked.device, "LABELSTREAM_MODEL": SHAPES[shape]}
    threads = os.cpu_count() or 1
    runs = [
        labelled(ground, "sqlite", asked.rows, engine="torch", threads=threads, settings=settings)
        for _ in range(asked.rounds)
    ]
    rate = asked.rows / statistics.median(run.seconds for run in runs)
    spent = ", ".join(
        f"{name} {seconds * 1e6 / asked.rows:.1f}" for name, seconds in runs[-1].spent.cpu.items()
    )
    print(f"{shape}, end to end: {rate:,.0f} rows/s; microseconds of CPU a row: {spent}")


if __name__ == "__main__":
    main()
