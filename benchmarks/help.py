"""How long `producer --help` takes, beside a Python that starts and does nothing.

`python -m benchmarks.help [RUNS]`: medians of runs in turn; the goal is less than 0.5 s.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS: dict[str, list[str | Path]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "producer --help": [BIN / "producer", "--help"],
    "training --help": [BIN / "training", "--help"],
}


def main() -> None:
    """Run each command in turn and print the median seconds."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["python -c pass"][1:])
    for name, taken in seconds.items():
        median = statistics.median(taken[1:])
        print(f"{name:16} {median:6.3f} s  {median / bare:5.1f} x")


if __name__ == "__main__":
    main()
