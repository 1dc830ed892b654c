"""A comparison ends, whatever becomes of its process, and keeps nothing that it must not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.comparing import MOST_KEPT, MOST_WAITING, Asked, Compared, Comparisons
from db.errors import UsageError
from db.ledger.stopping import cancel, purge
from db.settings import Settings
from db.store import Store
from tests.cluster import wait_until
from tests.db.ledger_parts import begin

FOUND = {"rows": 2, "flips": 0, "from_to": [], "most_confident": []}

#: Prints a result.
PRINTS = f"print({json.dumps(json.dumps(FOUND))})"

Run = Callable[..., Comparisons]


@pytest.fixture
def run(sqlite_store: Store, tmp_path: Path) -> Run:
    """Make comparisons whose process is a program of the test's, in Python."""
    settings = Settings(_env_file=None, home_dir=tmp_path)

    def made(program: str, limit: float = 60) -> Comparisons:
        return Comparisons(sqlite_store, settings, limit, (sys.executable, "-c", program))

    return made


@pytest.fixture
def job(sqlite_store: Store) -> int:
    return begin(sqlite_store).job


def asked(job: int, sample: int = 2) -> Asked:
    return Asked("emotion:1", "emotion:2", job, sample)


def ended(comparisons: Comparisons, which: Asked) -> Compared:
    """Wait until it is over, and return what came of it."""

    def over() -> Compared | None:
        made = comparisons.of(which)
        return made if made is not None and made.is_over else None

    made = wait_until(over, 60, "the comparison is over")
    assert isinstance(made, Compared)
    return made


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('no JSON')", "cannot be read (JSONDecodeError)"),
        ("print('[]')", "cannot be read (TypeError)"),
        ("print('{}')", "cannot be read (KeyError)"),
        ("", "cannot be read (JSONDecodeError)"),
        ("import os; os.write(1, b'\\xff\\xfe')", "cannot be read (UnicodeDecodeError)"),
        ("import os; os.write(2, b'error: \\xff'); os._exit(2)", "\ufffd"),
        ("import sys; sys.exit('error: no such job')", "no such job"),
        ("import os; os.kill(os.getpid(), 9)", "it ended with status -9"),
        ("never\0started", "it broke (ValueError)"),
    ],
)
def test_whatever_goes_wrong_is_told_and_can_be_tried_again(
    run: Run, job: int, program: str, words: str
) -> None:
    comparisons = run(program)
    for _ in range(2):
        comparisons.begin(asked(job))
        assert words in (ended(comparisons, asked(job)).failure or "")


def test_what_cannot_be_started_or_takes_too_long_is_told(
    run: Run, sqlite_store: Store, tmp_path: Path, job: int
) -> None:
    slow = run("import time; time.sleep(60)", limit=0.3)
    slow.begin(asked(job))
    assert "and was given up" in (ended(slow, asked(job)).failure or "")
    settings = Settings(_env_file=None, home_dir=tmp_path)
    missing = Comparisons(sqlite_store, settings, 60, (str(tmp_path / "missing"),))
    missing.begin(asked(job))
    assert "it could not be started" in (ended(missing, asked(job)).failure or "")


def test_what_failed_once_may_succeed(run: Run, job: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    comparisons = run(f"import pathlib; pathlib.Path({str(marker)!r}).read_text(); {PRINTS}")
    comparisons.begin(asked(job))
    assert "FileNotFoundError" in (ended(comparisons, asked(job)).failure or "")
    marker.touch()
    comparisons.begin(asked(job))
    assert ended(comparisons, asked(job)).found == FOUND


def test_eight_wait_and_no_more(run: Run, job: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    comparisons = run(
        "import pathlib, time\n"
        f"while not pathlib.Path({str(marker)!r}).exists(): time.sleep(0.02)\n"
        f"{PRINTS}"
    )
    which = [asked(job, sample) for sample in range(1, MOST_WAITING + 3)]
    for one in which[:-1]:
        comparisons.begin(one)
    with pytest.raises(UsageError, match="try later"):
        comparisons.begin(which[-1])
    # Who asks for one of them again is not refused.
    comparisons.begin(which[0])
    marker.touch()
    for one in which[:-1]:
        assert ended(comparisons, one).found == FOUND
    comparisons.begin(which[-1])
    assert ended(comparisons, which[-1]).found == FOUND


def test_ten_results_are_kept(run: Run, job: int) -> None:
    comparisons = run(PRINTS)
    which = [asked(job, sample) for sample in range(1, MOST_KEPT + 3)]
    for one in which:
        comparisons.begin(one)
        ended(comparisons, one)
    assert [comparisons.of(one) is None for one in which] == [True, True] + [False] * MOST_KEPT


def test_the_texts_of_a_job_that_was_purged_are_not_shown(
    run: Run, sqlite_store: Store, job: int
) -> None:
    comparisons = run(PRINTS)
    comparisons.begin(asked(job))
    assert ended(comparisons, asked(job)).found == FOUND
    cancel(sqlite_store, job)
    purge(sqlite_store, job)
    told = comparisons.of(asked(job))
    assert told == Compared(failure=f"job {job} was purged: its texts are gone")
    with pytest.raises(UsageError, match="was purged"):
        comparisons.begin(asked(job))


def test_the_token_stays_with_the_page(run: Run, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELSTREAM_DASHBOARD_TOKEN", "a token of more than sixteen characters")
    comparisons = run(
        "import json, os\n"
        f"found = json.loads({json.dumps(json.dumps(FOUND))})\n"
        "found['rows'] = [name for name in os.environ if 'TOKEN' in name]\n"
        "print(json.dumps(found))"
    )
    comparisons.begin(asked(job))
    found = ended(comparisons, asked(job)).found
    assert found is not None
    assert found["rows"] == []
