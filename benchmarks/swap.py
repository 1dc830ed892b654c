"""What a live swap costs the rows: the engine's longest idle time with a promotion, and without.

`python -m benchmarks.swap [--pairs 5] [--rows 4000] [--unmerged] [--threads N]`: runs by turns of one
worker and one job, with the starter on torch. In every second run another version of it is promoted
once a quarter of the rows is labelled. Idle is the time between two micro-batches of rows while rows
wait, as the worker tells it when it leaves; the first micro-batch of the new version, which has no
rows, counts as idle. With `--unmerged` the worker has to merge the promoted adapter first.
"""

import argparse
import csv
import json
import os
import random
import re
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers.utils import logging as transformers_logging

from db.migrate import upgrade
from db.registry.aliases import promote
from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import resolve
from tests.cluster import Cluster, wait_until
from tests.pipeline.made_versions import add_turned, merged
from tests.services import start_redis
from worker.starter import ensure_starter

EXAMPLES = Path(__file__).parents[1] / "examples" / "tweets.csv"

#: What the worker says when it leaves.
TOLD = re.compile(
    r"computed: rows=(\d+) micro_batches=(\d+) busy_s=([\d.]+) longest_idle_ms=([\d.]+)"
)


@dataclass(frozen=True)
class Run:
    """One job by one worker."""

    swapped: bool
    #: Rows by the number of the version that labelled them.
    rows: dict[int, int]
    seconds: float
    longest_idle_ms: float


def write_rows(path: Path, rows: int) -> None:
    """Write mixtures of the example tweets, of 4 to 40 words."""
    with EXAMPLES.open(newline="", encoding="utf-8") as file:
        words = [word for row in csv.DictReader(file) for word in (row["text"] or "").split()]
    pick = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number in range(rows):
            writer.writerow([number, " ".join(pick.choices(words, k=pick.randint(4, 40)))])


@contextmanager
def deployment(folder: Path, *, unmerged: bool) -> Iterator[Cluster]:
    """Give a deployment on SQLite with two versions of the starter, the first in production."""
    folder.mkdir()
    with start_redis(folder) as broker_url:
        url = f"sqlite:///{folder / 'store.db'}"
        cluster = Cluster(folder, broker_url, url, folder / "registry")
        try:
            upgrade(cluster.store)
            ensure_starter(cluster.store, artifact_store(cluster.python_settings()))
            merged(cluster, resolve(cluster.store, parse_ref("emotion:1")))
            add_turned(cluster, 1, merge=not unmerged)
            yield cluster
        finally:
            cluster.stop()


def measure(folder: Path, rows: int, threads: int, *, swapped: bool, unmerged: bool) -> Run:
    """Run one job from a fresh deployment, with a promotion in its midst if `swapped`."""
    with deployment(folder, unmerged=unmerged) as cluster:
        write_rows(folder / "rows.csv", rows)
        worker = cluster.start_worker(OMP_NUM_THREADS=str(threads))
        producer = cluster.start_producer("ingest", folder / "rows.csv", "--wait", "--json")
        done = "SELECT count(*) FROM labeled_texts"
        wait_until(lambda: cluster.value(done) > rows // 4, 600, "a quarter is labelled")
        if swapped:
            promote(cluster.store, "emotion", 2, who="benchmark", why="the swap")
        out, err = producer.communicate(timeout=1200)
        if producer.returncode:
            raise SystemExit(err)
        counted = cluster.rows(
            "SELECT model_version AS number, count(*) AS rows FROM labeled_texts GROUP BY 1"
        )
        worker.terminate()
        worker.wait(60)
        told = TOLD.search(cluster.logs())
        if told is None or int(told[1]) != rows:
            raise SystemExit(f"the worker did not tell of {rows} rows: {cluster.logs()[-2000:]}")
        by_version = {row.number: row.rows for row in counted}
        found = Run(swapped, by_version, json.loads(out)["seconds"], float(told[4]))
    if set(found.rows) != ({1, 2} if swapped else {1}):
        raise SystemExit(f"the job ended before the swap: {found.rows}; give more --rows")
    return found


def main() -> None:
    """Measure pair by pair, print a line a run, and the medians at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--unmerged", action="store_true")
    options = parser.parse_args()
    transformers_logging.disable_progress_bar()
    runs: list[Run] = []
    print("run      rows by version        job in s  longest idle while rows wait")
    for number in range(2 * options.pairs):
        # Which of the two comes first changes from pair to pair.
        swapped = number % 4 in (1, 2)
        with tempfile.TemporaryDirectory(prefix="labelstream-") as folder:
            runs.append(
                measure(
                    Path(folder) / "run",
                    options.rows,
                    options.threads,
                    swapped=swapped,
                    unmerged=options.unmerged,
                )
            )
        run = runs[-1]
        print(
            f"{'swap' if swapped else 'plain':8} {run.rows!s:22} {run.seconds:8.1f} "
            f"{run.longest_idle_ms:9.1f} ms",
            flush=True,
        )
    plain, swap = (
        statistics.median(run.longest_idle_ms for run in runs if run.swapped is kind)
        for kind in (False, True)
    )
    print(
        f"medians: plain {plain:.1f} ms, with a swap {swap:.1f} ms, difference {swap - plain:.1f} ms"
    )


if __name__ == "__main__":
    main()
