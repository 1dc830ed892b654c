"""The nightly retrain by a real beat and a real worker of its own: promoted, not promoted, failed, left."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery.schedules import crontab
from sqlalchemy import make_url

from db.registry.aliases import list_aliases
from db.registry.events import list_events
from db.registry.versions import list_versions
from tests.cluster import BIN, Cluster, wait_until
from tests.db.labels import correct, label_rows
from tests.db.ledger_parts import begin
from tests.deploy.compose import BASE, load
from tests.deploy.nightly import SCHEDULING, bare_environment, deployment, places
from tests.services import start_redis
from tests.tiny_models import tiny_base
from tests.training.moods import QUICK, Texts, mood_rows, said, write_splits

#: The same app with a beat of a second instead of a day, whose messages are void a second later.
EVERY_SECOND = """
from nightly_retrain import app, log, nightly_retrain, settings

app.conf.beat_schedule["nightly-retrain"].update(schedule=1.0, options={"expires": 1.0})
"""


class Nights:
    """A model in production, and beat and worker of its retrain as processes."""

    def __init__(self, cluster: Cluster, broker_url: str) -> None:
        self.cluster = cluster
        self.folder = cluster.folder
        self.log = self.folder / "retrain.log"
        (self.folder / "every_second.py").write_text(EVERY_SECOND)
        paths = [str(self.folder), str(SCHEDULING)]
        if "PYTHONPATH" in os.environ:
            paths.append(os.environ["PYTHONPATH"])
        self.environment = bare_environment(
            **{**places(self.folder), "HOME": str(self.folder), "NIGHTLY_MODEL": "mood"},
            LABELSTREAM_BROKER_URL=broker_url,
            PYTHONPATH=":".join(paths),
        )
        self.worker = self.start("worker", "--hostname", "retrain@test")
        self.beat = self.start("beat")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [BIN / "celery", "-A", "every_second", *arguments], env=self.environment,
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def told(self, pattern: str, *, after: int = 0) -> str:
        """Return the first line of the log, after its first bytes, that has the pattern."""

        def found() -> str | None:
            assert self.worker.poll() is None, self.log.read_text()[-3000:]
            match = re.search(f".*(?:{pattern}).*", self.log.read_text()[after:])
            return match and match[0]

        line: str = wait_until(found, 120, pattern)
        return line

    def stop(self) -> None:
        for process in (self.beat, self.worker):
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=40)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    folder = tmp_path_factory.mktemp("nights")
    texts = Texts()
    base = tiny_base(tmp_path_factory.mktemp("base") / "base", "distilbert", spread=0.1)
    train, val, test = (mood_rows(texts, count) for count in (300, 90, 120))
    few = tmp_path_factory.mktemp("few") / "data"
    write_splits(few, train=train[:15], val=val, test=test)
    with (
        start_redis(tmp_path_factory.mktemp("redis")) as server,
        # Not the database that other tests empty.
        deployment(
            folder, make_url(server).set(database="2").render_as_string(hide_password=False)
        ) as cluster,
    ):
        write_splits(folder / "data", train=train, val=val, test=test)
        # A version that few rows made, which is easily beaten, and people's corrections.
        given = {
            name.removeprefix("LABELSTREAM_").lower(): value
            for name, value in cluster.settings.items()
        }
        said(
            folder / "home",
            "fit",
            "--data",
            few,
            "--model",
            "mood",
            "--base",
            base,
            *QUICK,
            **given,
        )
        begin(cluster.store, model="mood", model_ref="mood@production")
        label_rows(
            cluster.store,
            1,
            ["so glad a friend and rain", "the night i fear"],
            "calm",
            model="mood",
        )
        for row in (1, 2):
            correct(cluster.store, 1, row, "afraid", minute=row)
        nights = Nights(cluster, cluster.settings["LABELSTREAM_BROKER_URL"])
        yield nights
        nights.stop()


def in_production(nights: Nights) -> int:
    return list_aliases(nights.cluster.store)["mood", "production"]


def test_beat_sends_and_the_worker_retrains_and_promotes_what_is_better(nights: Nights) -> None:
    line = nights.told("mood:2 is ")
    assert " INFO nightly_retrain: mood:2 is in production now: macro-F1 " in line
    events = {event.event: event for event in list_events(nights.cluster.store, "mood", 2)}
    assert events["registered"].why == "retrained from mood:1 with 2 corrected texts"
    assert events["promoted"].from_version == 1
    assert line.endswith(str(events["promoted"].why))
    assert in_production(nights) >= 2


def test_what_is_not_better_waits_and_production_stays(nights: Nights) -> None:
    # Nothing was corrected since: the same data makes the same version.
    line = nights.told("mood:3 is ")
    assert " INFO nightly_retrain: mood:3 is not promoted: its macro-F1 of " in line
    assert line.endswith("of mood:2")
    assert in_production(nights) == 2
    assert len(list_versions(nights.cluster.store, "mood")) >= 3


def test_a_retrain_that_fails_is_one_line_and_the_worker_lives_on(nights: Nights) -> None:
    (nights.folder / "data").rename(nights.folder / "elsewhere")
    read = len(nights.log.read_text())
    line = nights.told("failed with status", after=read)
    assert " ERROR nightly_retrain: retrain of mood failed with status 2: error: " in line
    assert "data does not exist: check --data" in line
    assert "Traceback" not in nights.log.read_text()
    answer = subprocess.run(
        [BIN / "celery", "-A", "every_second", "inspect", "ping", "-d", "retrain@test"],
        env=nights.environment, cwd=nights.folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "pong" in answer.stdout
    # And it takes the next.
    nights.told("failed with status 2", after=len(nights.log.read_text()))
    assert in_production(nights) == 2
    (nights.folder / "elsewhere").rename(nights.folder / "data")


def test_a_worker_that_is_told_to_leave_breaks_the_retrain_off(nights: Nights) -> None:
    def heeding() -> list[psutil.Process]:
        # One that has loaded torch has long said how it wants to be told.
        children = psutil.Process(nights.worker.pid).children()
        return [child for child in children if child.memory_info().rss > 200 * 2**20]

    before = len(list_versions(nights.cluster.store, "mood"))
    children = wait_until(heeding, 60, "a retrain is under way")
    nights.worker.send_signal(signal.SIGTERM)
    assert nights.worker.wait(timeout=30) == 0
    assert not any(child.is_running() for child in children)
    assert "retrain of mood failed with status 130: interrupted" in nights.log.read_text()
    assert len(list_versions(nights.cluster.store, "mood")) == before


@pytest.mark.parametrize("name", ["retrain", "beat"])
def test_the_services_of_compose_start_this_app(name: str, tmp_path: Path) -> None:
    service = load(BASE)["services"][name]
    assert "./examples/scheduling:/scheduling:ro" in service["volumes"]
    program, *arguments = [
        str(SCHEDULING) if word == "/scheduling" else word for word in service["command"]
    ]
    done = subprocess.run(
        [BIN / program, *arguments, "--help"], cwd=tmp_path, capture_output=True, text=True,
        env=bare_environment(LABELSTREAM_BROKER_URL="redis://localhost:1/0"), timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_without_a_broker_the_app_says_what_to_set(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "celery", "--workdir", SCHEDULING, "-A", "nightly_retrain", "beat"],
        env=bare_environment(HOME=str(tmp_path)), cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "nightly_retrain: set LABELSTREAM_BROKER_URL to the Redis of the workers, redis://…\n"
    )


def test_the_schedule_is_once_a_night_and_a_message_is_void_before_the_next() -> None:
    code = (
        "import json; from nightly_retrain import app, LONGEST\n"
        "entry = app.conf.beat_schedule['nightly-retrain']\n"
        "print(json.dumps([entry['task'], entry['options']['expires'], LONGEST, "
        "repr(entry['schedule']), 'args' in entry or 'kwargs' in entry]))"
    )
    done = subprocess.run(
        [BIN / "python", "-c", code], cwd=SCHEDULING, capture_output=True, text=True, timeout=60,
        env=bare_environment(LABELSTREAM_BROKER_URL="redis://localhost:1/0"), check=True,
    )  # fmt: skip
    task, expires, longest, schedule, has_arguments = json.loads(done.stdout)
    assert (task, has_arguments) == ("labelstream.nightly_retrain", False)
    assert schedule == repr(crontab(hour=3, minute=0))
    # One that began at the last moment is over before the next night's.
    assert expires + longest < 24 * 3600
