"""A seeded random schedule of faults over jobs that go on meanwhile, and the count at the end.

`make chaos`, with CHAOS_SECONDS and CHAOS_SEED, or `python -m tests.faults.chaos --seconds 600
--seed 1 [--database postgresql] [--clock 1]`: workers, producers, Redis, the database and the ways
between are struck while files and a Redis stream are read. Every event is printed with its time.
Exit status 1 if a row is missing, there twice or wrongly labelled, if something did not come to its
end, or if a producer left as none may.
"""

import argparse
import heapq
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from db.registry.aliases import promote
from tests.faults.deployment import Deployment
from tests.faults.form import SHORT
from tests.faults.lanes import FileLane, Lane, StreamLane
from tests.faults.model_faults import TWINS
from tests.faults.schedule import KINDS, Event, schedule

#: Rows of a file, and seconds that the engine takes for a row: two workers take 10 s for a file.
FILE_ROWS = 4_000
PACE = 0.005

#: Seconds within which everything is to come to its end when nothing is struck any more.
PATIENCE = 240.0

#: Entries that are added to the stream in a second.
STREAM_RATE = 25.0

#: Seconds after which a worker that left by itself is started again, as supervisors do.
_AGAIN_SECONDS = 1.0

#: What SQLite, which is no server, cannot be struck by.
_SERVERS_ONLY = ("restarted", "killed", "cut off", "mute")

_SIGNALS = {
    "killed": signal.SIGKILL,
    "terminated": signal.SIGTERM,
    "interrupted": signal.SIGINT,
    "stopped": signal.SIGSTOP,
}


class Chaos:
    """The things that are struck, and how each is mended."""

    def __init__(self, deployment: Deployment) -> None:
        self.began = time.monotonic()
        self._deployment = deployment
        deployment.add_twins(TWINS)
        self._version = 1
        self._workers: dict[str, subprocess.Popen[str] | None] = {
            f"worker {number}": process for number, process in enumerate(deployment.workers, 1)
        }
        self._worker_again: dict[str, float] = {}
        files = FileLane(deployment, TWINS, FILE_ROWS, self.tell)
        self._stream = StreamLane(deployment, TWINS, STREAM_RATE, self.tell)
        self.lanes: dict[str, Lane] = {lane.name: lane for lane in (files, self._stream)}

    def victims(self) -> dict[str, list[str]]:
        """Return who can be struck, by kind."""
        return {
            "worker": list(self._workers),
            "producer": list(self.lanes),
            "redis": ["redis"],
            "source": ["source"],
            "database": ["database"],
        }

    def tell(self, what: str) -> None:
        """Print what happens, and when."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {what}", flush=True)

    def strike(self, event: Event) -> None:
        """Let an event happen."""
        lasts = event.until - event.at
        self.tell(f"{event.victim} is {event.what}" + (f" for {lasts:.1f} s" if lasts else ""))
        if event.victim in self._workers:
            self._strike_worker(event)
        elif event.victim in self.lanes:
            self.lanes[event.victim].strike(_SIGNALS[event.what])
        else:
            self._server_action(event)()

    def mend(self, event: Event) -> None:
        """Undo what an event did, where it does not pass by itself."""
        if event.until == event.at:
            return
        self.tell(f"{event.victim} comes back")
        deployment = self._deployment
        if event.victim in self._workers:
            self._mend_worker(event)
        elif event.victim in self.lanes:
            self.lanes[event.victim].mend()
        elif event.victim == "source":
            self._stream.server.start()
        elif event.what in ("cut off", "mute"):
            proxies = {"redis": deployment.redis_proxy, "database": deployment.postgres_proxy}
            proxy = proxies[event.victim]
            assert proxy is not None
            proxy.restore()
        elif event.victim == "redis":
            deployment.redis.start()
            deployment.redis.keep(persistent=True)
        else:
            assert deployment.postgres is not None
            deployment.postgres.start()

    def go_on(self, last: bool = False) -> None:
        """Look after everybody who is not struck."""
        for lane in self.lanes.values():
            lane.go_on(last)
        now = time.monotonic()
        for name, process in self._workers.items():
            if process is not None and process.poll() is not None:
                self.tell(f"{name} left by itself with status {process.returncode}")
                self._workers[name] = None
                self._worker_again[name] = now + _AGAIN_SECONDS
            if now >= self._worker_again.get(name, float("inf")):
                del self._worker_again[name]
                self._workers[name] = self._deployment.launch_worker()

    def _strike_worker(self, event: Event) -> None:
        process = self._workers[event.victim]
        if process is None:
            self.tell(f"{event.victim} was not there")
            return
        process.send_signal(_SIGNALS[event.what])
        if event.what != "stopped":
            self._workers[event.victim] = None

    def _mend_worker(self, event: Event) -> None:
        process = self._workers[event.victim]
        if event.what == "stopped" and process is not None:
            process.send_signal(signal.SIGCONT)
        elif process is None:
            self._worker_again[event.victim] = time.monotonic()

    def _server_action(self, event: Event) -> Callable[[], None]:
        deployment = self._deployment
        redis, postgres = deployment.redis, deployment.postgres
        actions = {
            ("redis", "restarted"): redis.stop,
            ("redis", "killed"): redis.kill,
            ("redis", "restarted empty"): self._forget_and_stop,
            ("redis", "emptied"): redis.empty,
            ("source", "killed"): self._stream.server.kill,
            ("database", "given another version"): self._promote,
        }
        if deployment.redis_proxy is not None:
            actions["redis", "cut off"] = deployment.redis_proxy.cut
            actions["redis", "mute"] = deployment.redis_proxy.black_hole
        if postgres is not None:
            actions["database", "restarted"] = postgres.stop
            actions["database", "killed"] = postgres.kill
        if deployment.postgres_proxy is not None:
            actions["database", "cut off"] = deployment.postgres_proxy.cut
            actions["database", "mute"] = deployment.postgres_proxy.black_hole
        return actions[event.victim, event.what]

    def _forget_and_stop(self) -> None:
        self._deployment.redis.keep(persistent=False)
        self._deployment.redis.stop()

    def _promote(self) -> None:
        self._version = 3 - self._version
        store = self._deployment.cluster.store
        store.retrying(lambda: promote(store, TWINS, self._version, who="chaos", why="chaos"))


def reign(chaos: Chaos, events: list[Event], seconds: float) -> None:
    """Let the events happen at their times, and everything else go on."""
    due = [(event.at, 0, event) for event in events]
    heapq.heapify(due)
    while (now := time.monotonic() - chaos.began) < seconds or due:
        chaos.go_on()
        if not due or due[0][0] > now:
            time.sleep(0.05)
            continue
        _, mends, event = heapq.heappop(due)
        if mends:
            chaos.mend(event)
        else:
            chaos.strike(event)
            heapq.heappush(due, (event.until, 1, event))


def settle(chaos: Chaos, patience: float) -> list[str]:
    """Wait until everything that was begun is done; return what is not."""
    chaos.tell("all is mended; what was begun comes to its end")
    deadline = time.monotonic() + patience
    while True:
        chaos.go_on(last=True)
        unfinished = [lane.name for lane in chaos.lanes.values() if not lane.is_finished()]
        if not unfinished:
            return []
        if time.monotonic() > deadline:
            return [f"{name} did not come to its end in {patience:.0f} s" for name in unfinished]
        time.sleep(0.1)


def count(chaos: Chaos) -> list[str]:
    """Return everything that is wrong, and print the counts."""
    wrong = []
    for lane in chaos.lanes.values():
        wrong += lane.failures
        for job in lane.jobs:
            found = job.differences({1, 2})
            numbers = ", ".join(map(str, job.numbers()))
            print(
                f"{lane.name}, jobs {numbers}: {len(job.rows):,} rows, {job.done_rows():,} in their "
                f"place, {job.chunks():,} chunks, {job.claims():,} claims; "
                + ("; ".join(found) or "all right")
            )
            wrong += found
    return wrong


def run(seconds: float, seed: int, database: str, clock: float) -> list[str]:
    """Reign for `seconds`, settle and count; return what is wrong."""
    # Small chunks and few at once, so that a file is read for as long as it is labelled.
    form = replace(SHORT, clock=clock, pace=PACE, patience=PATIENCE)
    deployment = Deployment(database, form, proxied=True)
    try:
        chaos = Chaos(deployment)
        kinds = [
            kind
            for kind in KINDS
            if database != "sqlite" or (kind.whom, kind.name) not in _of_servers()
        ]
        events = schedule(kinds, chaos.victims(), seed=seed, seconds=seconds, clock=clock)
        reign(chaos, events, seconds)
        unfinished = settle(chaos, form.patience)
        print(
            f"{len(events)} events, seed {seed}, {database}, {time.monotonic() - chaos.began:.0f} s"
        )
        return unfinished + count(chaos)
    finally:
        deployment.close()


def _of_servers() -> set[tuple[str, str]]:
    return {("database", name) for name in _SERVERS_ONLY}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--clock", type=float, default=1.0, help="factor of the ledger's times")
    asked = parser.parse_args()
    logging.getLogger("worker.starter").setLevel(logging.ERROR)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a shell Ctrl-C is ignored, and producers would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    wrong = run(asked.seconds, asked.seed, asked.database, asked.clock)
    print("\n".join(f"WRONG: {one}" for one in wrong) or "no difference")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
