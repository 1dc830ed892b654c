"""Ray Data instead: one actor that holds a pipeline, batches of 500 rows, `to_sql`.

`python -m benchmarks.ray_peer FILE MODEL DATABASE FOLDER` with the extra `bench-ray` installed; Ray keeps
its files in FOLDER, whose path must be short: it makes sockets there. Prints one JSON object. The clock
starts when the actor has loaded its model; what Ray has read of the file by then is for nothing.
"""

import json
import os
import secrets
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import BATCH, load_pipeline
from worker.threads import usable_cpus

#: Rows that the actor is given at a time.
RAY_BATCH = 500

#: Memory that the actor and the driver share for batches on their way, in bytes.
STORE_BYTES = 200 * 2**20

#: Where the actor says since when it is ready.
READY_FILE = "ready"


class Labeller:
    """An actor with a pipeline on all processors."""

    def __init__(self, model: str, folder: str) -> None:
        import torch

        # Ray gives an actor one thread for each processor that it books.
        torch.set_num_threads(usable_cpus())
        self._classify = load_pipeline(model)
        self._classify(["a text to warm up with"])
        (Path(folder) / READY_FILE).write_text(repr(time.time()), encoding="ascii")

    def __call__(self, rows: Any) -> Any:
        """Add label and score to a data frame of rows."""
        found = self._classify(rows["text"].tolist(), batch_size=BATCH, truncation=True)
        return rows.assign(
            label=[each["label"] for each in found], score=[each["score"] for each in found]
        )


def by_ray(file: str, model: str, database: str, folder: str) -> dict[str, float]:
    """Label `file`; returns seconds of loading, of all rows, and until the first is stored."""
    os.environ |= {
        # Else it reports its use to a web address.
        "RAY_USAGE_STATS_ENABLED": "0",
        # Else it makes a token of its own, and leaves it in the user's home.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Else it takes this machine's address for loopback: without clusters it stays on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    import ray

    begun = time.time()
    ray.init(
        # One more than there are, for the actor books all of them and reading the file needs one.
        num_cpus=usable_cpus() + 1,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    try:
        first = _label(file, model, database, folder)
        ended = time.time()
    finally:
        ray.shutdown()
    ready = float((Path(folder) / READY_FILE).read_text(encoding="ascii"))
    return {"loading": ready - begun, "seconds": ended - ready, "first": first - ready}


def _label(file: str, model: str, database: str, folder: str) -> float:
    """Store the labels batch by batch, and return when the first were there."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    labelled = ray.data.read_csv(file).map_batches(
        Labeller,
        fn_constructor_args=(model, folder),
        batch_size=RAY_BATCH,
        batch_format="pandas",
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=usable_cpus(),
    )
    first = 0.0
    with sqlite3.connect(database) as connection:
        batch: Any
        for batch in labelled.iter_batches(batch_size=RAY_BATCH, batch_format="pandas"):
            batch.to_sql("labels", connection, if_exists="append", index=False)
            connection.commit()
            first = first or time.time()
    return first


if __name__ == "__main__":
    print(json.dumps(by_ray(*sys.argv[1:])))
