"""What a worker logs, for people and for machines."""

import json
from pathlib import Path
from typing import Any

from tests.cluster import Cluster, wait_until


def test_as_json_each_event_is_an_object_a_line_with_what_it_is_about_and_no_text(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.csv"
    path.write_text("text\n" + "".join(f"do not tell {n}\n" for n in range(30)))
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash", LABELSTREAM_LOG_FORMAT="json")
    job = cluster.ingest(path, "--chunk-rows", "10")["job"]

    def events() -> list[dict[str, Any]]:
        # What Celery greets with is no event.
        lines = [line for line in cluster.logs().splitlines() if line.startswith("{")]
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in found if event.get("event") == "chunk done"]

    wait_until(lambda: len(events()) == 3, 30, "a line for each chunk")
    assert sorted(event["chunk"] for event in events()) == [1, 2, 3]
    for event in events():
        assert (event["job"], event["rows"], event["rejected"]) == (job, 10, 0)
        named = (event["model"], event["model_version"], event["engine"])
        assert named == ("emotion", 1, "text-hash")
        assert {"at", "level", "logger", "message"} <= set(event)
    assert "do not tell" not in cluster.logs()
