"""Peak memory of producer, worker and Redis for 100,000 and 1,000,000 rows, side by side.

`python -m benchmarks.memory [ROWS ...]` with the `constant` engine: the pipeline without the
model. Peaks are of resident memory: the operating system's high-water mark of each process
(VmHWM), and Redis's own `used_memory_peak`.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.cluster import BIN, Cluster, clean_environment
from tests.services import start_redis

MIB = 1024 * 1024


@dataclass(frozen=True)
class Peaks:
    """One run: rows, seconds, and peak memory in MiB."""

    rows: int
    seconds: float
    producer: float
    worker: float
    redis: float


def peak_mib(pid: int) -> float:
    """Return the high-water mark of a living process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no VmHWM")


def write_rows(path: Path, rows: int) -> None:
    """Write a CSV of distinct short texts."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number in range(rows):
            writer.writerow([number, f"i feel like text number {number} of a very long stream"])


def measure(rows: int, folder: Path) -> Peaks:
    """Ingest `rows` rows with fresh services and return the peaks."""
    path = folder / "rows.csv"
    write_rows(path, rows)
    with start_redis(folder) as broker_url:
        cluster = Cluster(
            folder, broker_url, f"sqlite:///{folder / 'store.db'}", folder / "registry"
        )
        try:
            worker = cluster.start_worker(LABELSTREAM_ENGINE="constant")
            producer = subprocess.Popen(
                [BIN / "producer", "ingest", path, "--wait", "--json"],
                env=clean_environment(**cluster.settings),
                cwd=folder,
                stdout=subprocess.PIPE,
                text=True,
            )
            producer_peak = 0.0
            while producer.poll() is None:
                try:
                    producer_peak = max(producer_peak, peak_mib(producer.pid))
                except (OSError, RuntimeError):
                    break
                time.sleep(0.05)
            out, _ = producer.communicate()
            result = json.loads(out)
            if (result["labeled"], result["rejected"]) != (rows, 0):
                raise SystemExit(f"not every row is accounted for: {result}")
            server = redis.Redis.from_url(broker_url)
            redis_peak = server.info("memory")["used_memory_peak"] / MIB
            server.close()
            return Peaks(rows, result["seconds"], producer_peak, peak_mib(worker.pid), redis_peak)
        finally:
            cluster.stop()


def main() -> None:
    """Measure each size and print one line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[100_000, 1_000_000])
    sizes = parser.parse_args().rows
    print(f"{'rows':>10} {'rows/s':>8} {'producer':>10} {'worker':>10} {'redis':>8}  (peak MiB)")
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="labelstream-") as folder:
            peaks = measure(rows, Path(folder))
        print(
            f"{peaks.rows:>10,} {peaks.rows / peaks.seconds:>8,.0f} {peaks.producer:>10.1f} "
            f"{peaks.worker:>10.1f} {peaks.redis:>8.1f}"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
