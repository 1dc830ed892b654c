"""The commit of a model or base from the hub is recorded, and every worker uses that very commit."""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cluster import BIN, clean_environment
from tests.foreign_models import (
    peft_logits,
    pipeline_labels,
    plain_adapter,
    plain_base,
    plain_classifier,
    some_texts,
)
from tests.hub_cache import HubCache
from tests.tiny_models import write_rows
from tests.training.moods import settings_of
from worker import Classifier

OLD, NEW = "0" * 39 + "1", "f" * 39 + "2"

TEXTS = some_texts(60)


@pytest.fixture
def hub(tmp_path: Path) -> HubCache:
    """A cache with two commits of a base; main is the older one."""
    cache = HubCache(tmp_path / "cache")
    cache.add("owner/base", NEW, plain_base(tmp_path / "new", seed=2))
    cache.add("owner/base", OLD, plain_base(tmp_path / "old", seed=1))
    return cache


def command(hub: HubCache, program: str | Path, *arguments: str | Path, **settings: str) -> str:
    """Run a command beside the cache, which must succeed; return what it says."""
    done = subprocess.run(
        [program, *map(str, arguments)],
        cwd=hub.home.parent,
        env=clean_environment(**hub.environment(), **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commit_of_a_whole_model_is_recorded_and_its_files_are_kept(
    hub: HubCache, tmp_path: Path
) -> None:
    model = plain_classifier(tmp_path / "moods", labels=("calm", "cross"))
    hub.add("owner/moods", NEW, model)
    told = json.loads(
        command(hub, BIN / "training", "register", "owner/moods", "--model", "moods", "--json")
    )
    assert (told["base"], told["base_revision"]) == ("owner/moods", NEW)
    shown = command(hub, BIN / "training", "show", "moods:1")
    assert f"base: owner/moods at {NEW}\n" in shown
    assert f"training register owner/moods at {NEW}\n" in shown
    # Without the cache: nothing is fetched any more.
    with Classifier.load("moods", settings=settings_of(tmp_path / ".labelstream")) as classifier:
        assert [each["label"] for each in classifier(TEXTS)] == pipeline_labels(model, TEXTS)


def test_a_fit_records_its_bases_commit_and_a_worker_uses_it_though_main_has_moved_on(
    hub: HubCache, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "rows", ("bad", "good"))
    command(
        hub, BIN / "training", "fit", "--data", data, "--model", "mood", "--base", "owner/base",
        "--epochs", "2", "--batch-size", "16", "--max-length", "32", "--learning-rate", "0.01",
        "--out", tmp_path / "adapter",
    )  # fmt: skip
    hub.move_main("owner/base", NEW)
    rows = tmp_path / "rows.csv"
    rows.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    command(hub, BIN / "producer", "ingest", rows, "--model", "mood", "--json")
    with sqlite3.connect(tmp_path / ".labelstream" / "labelstream.db") as database:
        recorded = "SELECT base, base_revision FROM model_versions WHERE model = 'mood'"
        assert database.execute(recorded).fetchall() == [("owner/base", OLD)]
        query = "SELECT label FROM labeled_texts ORDER BY row_number"
        labels = [row[0] for row in database.execute(query)]
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["revision"] == OLD
    expected, moved = (
        [
            ("bad", "good")[index]
            for index in peft_logits(tmp_path / "adapter", tmp_path / base, TEXTS, labels=2)
            .argmax(dim=1)
            .tolist()
        ]
        for base in ("old", "new")
    )
    assert expected != moved
    assert labels == expected


def test_an_adapter_from_elsewhere_keeps_the_commit_that_it_names(
    hub: HubCache, tmp_path: Path
) -> None:
    adapter = plain_adapter(tmp_path / "adapter", tmp_path / "old")
    config = json.loads((adapter / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": "owner/base", "revision": OLD}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    hub.move_main("owner/base", NEW)
    code = f"""
from training.cli import app
for options in ([], ["--base", "owner/base"], ["--base-revision", "{NEW}"]):
    arguments = ["register", {str(adapter)!r}, "--model", "adapted", "--labels", "a,b,c", *options]
    app([*arguments, "--json"], standalone_mode=False)
"""
    lines = command(hub, sys.executable, "-c", code).splitlines()
    told = [json.loads(line) for line in lines]
    assert {each["base"] for each in told} == {"owner/base"}
    # What the user names is as it is now, unless its commit is named too.
    assert [each["base_revision"] for each in told] == [OLD, NEW, NEW]


def test_a_base_on_a_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows", ("bad", "good"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [BIN / "training", "fit", "--data", data, "--base", "distilroberta-base"],
            cwd=tmp_path,
            env=clean_environment(HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0", HF_ENDPOINT=address),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line == (
        "error: base model distilroberta-base cannot be fetched from the hub "
        "(LocalEntryNotFoundError): check the name and the connection, or give a local folder"
    )
    # Nothing else is said but what it set out to do, and that the starter was registered.
    others = {each.split()[0] for each in done.stderr.splitlines() if each != line}
    assert others <= {"fitting", "note:", "model", "epoch"}


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """What a hub on loopback, of which nothing is to be had, was asked for; its address first."""
    requests: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        requests.append(f"http://127.0.0.1:{server.server_port}")
        yield requests
        server.shutdown()
        thread.join()


def test_a_commit_that_is_here_whole_is_not_asked_for_and_one_in_part_is(
    hub: HubCache, asked: list[str]
) -> None:
    snapshots = hub.home / "hub" / "models--owner--base" / "snapshots"
    (snapshots / NEW / "tokenizer.json").unlink()
    code = f"""
from worker.bases import resolve_base
print(resolve_base("owner/base", "{OLD}").path)
print("and")
try:
    resolve_base("owner/base", "{NEW}")
except Exception as error:
    print(error)
"""
    (address,) = asked
    settings = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(**{**hub.environment(), **settings}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    found, _, told = done.stdout.splitlines()
    assert found == str(snapshots / OLD)
    assert told.startswith("base model owner/base")
    assert asked[1:], "the hub was asked for what is missing"
    assert not [request for request in asked[1:] if OLD in request]
