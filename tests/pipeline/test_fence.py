"""Two workers that hold the same chunk: its rows appear once, from one of them."""

import os
import signal
from pathlib import Path

from tests.cluster import Cluster, wait_until


def test_a_paused_worker_that_comes_back_writes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "".join(f"row {n}\n" for n in range(1, 2049)))
    paused = cluster.start_worker(LABELSTREAM_ENGINE="fixed-time")
    job = cluster.start_producer("ingest", path, "--wait", "--json")
    held = wait_until(
        lambda: cluster.rows(
            "SELECT number, lease_token FROM chunks WHERE state = 'leased' AND claims = 1"
        ),
        60,
        "the first worker holds chunks",
    )
    cluster.pause(paused)
    try:
        still_held = cluster.rows("SELECT number FROM chunks WHERE state = 'leased'")
        assert still_held, f"the victim held a lease when it was paused (it had held {len(held)})"
        cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
        _, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    wait_until(lambda: "fenced:" in cluster.worker_log(0).read_text(), 60, "the fence refuses")
    taken = {row.number for row in still_held}
    marks = ", ".join(str(number) for number in taken)
    again = cluster.rows(
        f"SELECT number, claims, suspect, engine FROM chunks WHERE number IN ({marks})"
    )
    assert {(row.claims, bool(row.suspect), row.engine) for row in again} == {
        (2, True, "text-hash")
    }
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 2048
    assert cluster.value("SELECT sum(labeled) FROM chunks") == 2048
    mixed = cluster.rows(
        "SELECT c.number FROM chunks c JOIN labeled_texts t ON t.job_id = c.job_id"
        " AND t.row_number > (c.number - 1) * 256 AND t.row_number <= c.number * 256"
        " GROUP BY c.number HAVING count(DISTINCT t.engine) > 1 OR count(*) <> 256"
    )
    assert mixed == []
