"""What people do today instead, each as one would write it: the ways we are measured against.

`python -m benchmarks.peers pandas FILE MODEL DATABASE`: pandas reads the CSV in pieces, a
`transformers.pipeline` classifies them, `to_sql` appends them. `celery -A benchmarks.peers worker` with
`BENCH_MODEL` and `BENCH_DATABASE` set: one task a row, one INSERT a row; `python -m benchmarks.peers
enqueue FILE` sends the tasks. Each prints one JSON object.
"""

import json
import os
import sqlite3
import sys
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

#: Rows that pandas reads at a time, and texts of one forward pass.
PIECE = 1000
BATCH = 32

app = Celery("peers", broker=os.environ.get("BENCH_BROKER", "redis://localhost"))
# A process has its model loaded before it is alive, which takes more than the 4 s that are usual.
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=64, worker_proc_alive_timeout=120.0
)

_loaded: dict[str, Any] = {}


def load_pipeline(folder: str) -> Any:
    """Return a text classification pipeline of the model in `folder`."""
    from transformers import pipeline

    return pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")


@worker_process_init.connect
def _load(**_: Any) -> None:
    _loaded["classify"] = load_pipeline(os.environ["BENCH_MODEL"])
    _loaded["database"] = sqlite3.connect(os.environ["BENCH_DATABASE"], timeout=60)


@app.task(name="peers.label")
def label(number: int, text: str) -> None:
    """Classify one text and store its label."""
    [found] = _loaded["classify"](text, truncation=True)
    with _loaded["database"] as connection:
        connection.execute(
            "INSERT INTO labels (id, text, label, score) VALUES (?, ?, ?, ?)",
            (number, text, found["label"], found["score"]),
        )


def enqueue(file: str) -> dict[str, float]:
    """Send a task for each row of `file`."""
    import pandas as pd

    started = time.time()
    frame = pd.read_csv(file)
    for number, text in zip(frame["id"].tolist(), frame["text"].tolist(), strict=True):
        label.delay(number, text)
    return {"started": started, "seconds": time.time() - started}


def by_pandas(file: str, folder: str, database: str) -> dict[str, float]:
    """Label `file` by pieces; returns seconds of loading, of all rows, and until the first."""
    import pandas as pd

    begun = time.monotonic()
    classify = load_pipeline(folder)
    classify(["a text to warm up with"])
    loaded = time.monotonic()
    first = 0.0
    with sqlite3.connect(database) as connection:
        for piece in pd.read_csv(file, chunksize=PIECE):
            found = classify(piece["text"].tolist(), batch_size=BATCH, truncation=True)
            piece["label"] = [each["label"] for each in found]
            piece["score"] = [each["score"] for each in found]
            piece.to_sql("labels", connection, if_exists="append", index=False)
            connection.commit()
            first = first or time.monotonic() - loaded
    return {
        "loading": loaded - begun,
        "seconds": time.monotonic() - loaded,
        "first": first,
    }


if __name__ == "__main__":
    way, *arguments = sys.argv[1:]
    print(json.dumps(by_pandas(*arguments) if way == "pandas" else enqueue(*arguments)))
