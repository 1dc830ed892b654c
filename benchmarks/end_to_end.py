"""From CSV to SQL beside what people do today: `make bench`.

`python -m benchmarks.end_to_end DATA [--rows 20000] [--rounds 3] [--json FILE] [--picture FILE.svg]`:
distinct texts of DATA, the validation and test texts first, the same file and the same merged starter for
all, on this machine's CPUs and SQLite: pandas with `transformers.pipeline`, one Celery task a row (a
process for each CPU), Ray Data with one actor (where it is installed), and one producer and one worker of
ours with each engine, which remembers nothing. The ways take turns; seconds are medians. The clock runs
from the first row read to the last commit, with everything loaded; loading stands apart. Peak memory is
that of what reads, computes and writes, each process at its own peak; Redis, the sender of tasks and
Ray's own servers are left out. Labels are compared with those of our torch engine.

In the same rounds each engine is called alone, in one process, on the same texts; ours label a file of
which 30 % of the rows repeat an earlier text, remembering and not; and large matrices are multiplied,
for the roofline. `--peers` and `--engines` choose among the ways.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ground import REPEATED, prepared
from benchmarks.picture import picture
from benchmarks.roofline import SIDE, Roofline, flop_a_row, read_config
from benchmarks.speed_table import Alone, Repeats, Table, in_markdown, lines, rate
from benchmarks.ways import ROOT, Ground, Ours, Run, Way, alone, peers
from db.settings import Settings
from tests.cluster import clean_environment
from worker.threads import usable_cpus

#: Ours, by the engine that is asked for.
ENGINES = {
    "torch": Way("Labelstream, engine torch (fp32)", Ours("torch"), ours=True),
    "auto": Way("Labelstream, engine auto (openvino, int8)", Ours("auto"), ours=True),
}

#: MiB that a worker of ours remembers by default.
CACHE_MB = int(Settings.model_fields["cache_mb"].default)

#: What a way or an engine is run for: the table, by itself, and where texts repeat.
WAY, ALONE, FORGETTING, REMEMBERING = "way", "alone", "nothing remembered", "remembering"

#: By what it is run for, and its short name.
Steps = Mapping[tuple[str, str], Callable[[Ground, Path], Run]]
Runs = dict[tuple[str, str], list[Run]]


def steps(ways: Mapping[str, Way], engines: Sequence[str]) -> Steps:
    """Return what is done in each round, in this order."""
    found = {(WAY, key): way.run for key, way in ways.items() if not way.skipped}
    for engine in engines:
        found[ALONE, engine] = alone(engine)
        found[FORGETTING, engine] = Ours(engine, repeating=True)
        found[REMEMBERING, engine] = Ours(engine, repeating=True, cache_mb=CACHE_MB)
    return found


def taken_turns(
    steps: Steps, ground: Ground, rounds: int, side: int
) -> tuple[Runs, list[dict[str, Any]]]:
    """Run every step once a round; returns the runs, and each round's figures for the roofline."""
    runs: Runs = {key: [] for key in steps}
    limits = []
    for number in range(rounds):
        limits.append(machine_limits(side))
        for place, (key, run) in enumerate(steps.items()):
            folder = ground.folder / f"{number}-{place}"
            folder.mkdir()
            runs[key].append(run(ground, folder))
            told = f"round {number + 1}: {', '.join(key)}: {runs[key][-1].seconds:.1f} s"
            print(told, file=sys.stderr, flush=True)
    return runs, limits


def machine_limits(side: int) -> dict[str, Any]:
    """Measure the machine in a process of its own, which starts with all its memory free."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.roofline", str(side)],
        cwd=ROOT, env=clean_environment(OMP_NUM_THREADS=str(usable_cpus())),
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    limits: dict[str, Any] = json.loads(done.stdout)
    return limits


def table_of(
    ways: Mapping[str, Way],
    runs: Runs,
    limits: Sequence[Mapping[str, Any]],
    ground: Ground,
    engines: Sequence[str],
) -> Table:
    """Return the table of all that was run."""
    flop = flop_a_row(read_config(ground.merged), ground.tokens)
    int8 = [each["int8_gops"] for each in limits if each["int8_gops"]]
    return Table(
        rows=ground.rows,
        held_out=len(ground.truth),
        cpus=usable_cpus(),
        rounds=len(limits),
        tokens_a_row=sum(ground.tokens) / ground.rows,
        # What a machine could do is what it once did.
        roofline=Roofline(
            flop / 1e6,
            max(each["fp32_gflops"] for each in limits),
            max(int8) if int8 else None,
        ),
        lines=lines(
            ways,
            {key: each for (part, key), each in runs.items() if part == WAY},
            ground.rows,
            ground.truth,
        ),
        alone=[_alone(engine, runs, ground.rows) for engine in engines],
        repeated=REPEATED,
        repeats=[_repeats(engine, runs, ground.rows) for engine in engines],
    )


def _alone(engine: str, runs: Runs, rows: int) -> Alone:
    by_itself, whole = rate(runs[ALONE, engine], rows), rate(runs[WAY, engine], rows)
    return Alone(engine, by_itself, whole, whole / by_itself)


def _repeats(engine: str, runs: Runs, rows: int) -> Repeats:
    forgetting, remembering = runs[FORGETTING, engine], runs[REMEMBERING, engine]
    return Repeats(
        ENGINES[engine].name,
        rate(forgetting, rows),
        rate(remembering, rows),
        forgetting[-1].hit_rate,
        remembering[-1].hit_rate,
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=peers(), default=list(peers()))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--side", type=int, default=SIDE, help="of the roofline's matrices")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    if asked.picture is not None and asked.picture.suffix != ".svg":
        parser.error(f"the picture is SVG: name a file that ends in .svg, not {asked.picture.name}")
    ways = {key: way for key, way in peers().items() if key in asked.peers}
    ways |= {key: way for key, way in ENGINES.items() if key in asked.engines}
    with prepared(asked.data, asked.rows, asked.engines) as ground:
        runs, limits = taken_turns(steps(ways, asked.engines), ground, asked.rounds, asked.side)
        table = table_of(ways, runs, limits, ground, asked.engines)
    print(in_markdown(table))
    if asked.json is not None:
        written(asked.json, json.dumps(table.as_json(), indent=2, allow_nan=False) + "\n")
    if asked.picture is not None:
        written(asked.picture, picture(table))


def written(file: Path, content: str) -> None:
    """Write a file, in a folder that may have to be made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
