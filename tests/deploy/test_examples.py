"""The example tweets and the look at their results, as the demo goes through them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import clean_environment
from tests.deploy.compose import ROOT
from tests.services import free_port

TWEETS = ROOT / "examples" / "tweets.csv"
SHOW = ROOT / "examples" / "show_results.py"
SEND = ROOT / "examples" / "send_texts.py"


def test_the_tweets_are_many_and_some_are_awkward() -> None:
    with TWEETS.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "text", "lang"]
    assert len(rows) == 165
    assert [row[0] for row in rows if len(row) != 3 or not row[1].strip()] == [
        "t041",
        "t082",
        "t164",
    ]
    texts = [row[1] for row in rows]
    for awkward in ('"', ",", "\n", "🥳", "א", "\u0301", "\u200b", "<script>", "DROP TABLE"):
        assert any(awkward in text for text in texts), awkward
    assert any(text.startswith("=") for text in texts)
    assert max(map(len, texts)) > 4000


def test_the_demo_labels_the_tweets_and_shows_them(tmp_path: Path) -> None:
    environment = clean_environment(
        LABELSTREAM_HOME_DIR=str(tmp_path), LABELSTREAM_ENGINE="text-hash"
    )
    producer = Path(sys.executable).parent / "producer"
    done = subprocess.run(
        [producer, "ingest", TWEETS, "--again", "--json"], env=environment, cwd=tmp_path,
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["labeled"], summary["rejected"]) == (165, 162, 3)

    database = tmp_path / "labelstream.db"
    shown = subprocess.run(
        [sys.executable, SHOW, database], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    for label, count in summary["labels"].items():
        assert f"  {label:<10} {count:>4}  mean confidence" in shown
    assert "empty text" in shown
    assert f"database: {database}\n" in shown


def test_without_a_database_the_look_says_how_to_get_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SHOW, tmp_path / "none.db"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "producer ingest examples/tweets.csv" in done.stderr


@pytest.mark.parametrize(
    ("broker", "texts", "says"),
    [
        ("", ("what a day",), "set LABELSTREAM_BROKER_URL"),
        ("redis://127.0.0.1:{port}/0", (), "give the texts"),
        ("redis://127.0.0.1:{port}/0", ("what a day",), "nothing was sent: "),
    ],
)
def test_sending_without_a_broker_or_texts_is_one_line(
    broker: str, texts: tuple[str, ...], says: str
) -> None:
    environment = clean_environment(LABELSTREAM_BROKER_URL=broker.format(port=free_port()))
    done = subprocess.run(
        [sys.executable, SEND, *texts], env=environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""
