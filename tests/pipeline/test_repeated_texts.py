"""Texts that come again, through a real worker: what its log tells, and what the rows say."""

import re
from pathlib import Path

import pytest

from tests.cluster import Cluster

#: 40 texts, of which the first 20 come again: 60 rows, one chunk.
TEXTS = [f"i feel number {n}" for n in range(40)]
TEXTS += TEXTS[:20]

TOLD = re.compile(
    r"computed: rows=(\d+) .* repeated=(\d+) remembered=(\d+) hit_rate=([\d.]+) cache_mib=([\d.]+)"
)


@pytest.mark.parametrize("starter_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("cache_mb", "told"),
    # Twice 20 stand beside their equals; the second time the 40 others are known.
    [("64", ("120", "40", "40", "0.667")), ("0", ("120", "40", "0", "0.333"))],
)
def test_a_worker_classifies_a_text_once_and_tells_its_hit_rate_when_it_leaves(
    cluster: Cluster, tmp_path: Path, cache_mb: str, told: tuple[str, ...]
) -> None:
    path = tmp_path / "repeats.csv"
    path.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    worker = cluster.start_worker(LABELSTREAM_CACHE_MB=cache_mb)
    for again in ((), ("--again",)):
        assert cluster.ingest(path, *again)["labeled"] == 60
    worker.terminate()
    assert worker.wait(60) == 0

    log = cluster.logs()
    (found,) = TOLD.findall(log)
    assert found[:4] == told
    assert (float(found[4]) > 0) == (cache_mb != "0")
    assert f"repeated=20 remembered={told[2]}\n" in log, "the second chunk's line has its own"
    assert "i feel number" not in log

    rows = cluster.rows("SELECT text, scores FROM labeled_texts ORDER BY job_id, row_number")
    assert [row.text for row in rows] == TEXTS * 2
    # The logits of one time are those of each other time, to the last digit, where they are kept.
    jobs = [rows] if cache_mb != "0" else [rows[:60], rows[60:]]
    for same in jobs:
        assert len({(row.text, str(row.scores)) for row in same}) == 40
