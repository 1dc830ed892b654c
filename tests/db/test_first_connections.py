"""The first connections to a new SQLite file, by several processes at the same moment."""

import multiprocessing
import sqlite3
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from db.store import Store

#: Files and processes: without patience, about one connection in a hundred failed.
FILES = 60
PROCESSES = 6


def connect_first(folder: Path, together: Callable[[], Any], outcomes: "Queue[str]") -> None:
    for number in range(FILES):
        store = Store(f"sqlite:///{folder / str(number)}.db")
        together()
        try:
            with store.write() as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS rows (number INTEGER)")
                outcomes.put("connected")
        except Exception as error:  # noqa: BLE001  (for the test to judge)
            outcomes.put(str(error))
        store.close()


def test_processes_that_open_a_new_file_at_once_all_connect(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES, timeout=60)
    outcomes: Queue[str] = context.Queue()
    processes = [
        context.Process(target=connect_first, args=(tmp_path, together.wait, outcomes))
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    told = [outcomes.get(timeout=120) for _ in range(FILES * PROCESSES)]
    for process in processes:
        process.join(30)
    assert told == ["connected"] * len(told)
    with sqlite3.connect(tmp_path / "0.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
