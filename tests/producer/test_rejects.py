"""`producer rejects`."""

import csv
import io

from db.ledger.stopping import purge
from db.store import Store
from producer.rejects import rejects, render
from producer.terminal import rendered
from tests.producer.command import Command
from tests.producer.made_jobs import MadeJob, made_job


def with_rejects(store: Store) -> MadeJob:
    job = MadeJob(store)
    chunk = job.chunk(
        ["fine", "also fine"],
        rejects=[
            ("empty text", ""),
            ("too many fields", "=1+1,\x1b]0;title\x07,[red]x[/red]"),
            ("too few fields", "a\nb\u202ec"),
        ],
    )
    job.label(chunk, rejected=[(2, "scores are not numbers")])
    assert job.finish() == "done"
    return job


def test_the_table_tells_row_line_and_reason_and_neutralises_what_moves_a_terminal(
    store: Store, command: Command
) -> None:
    result = command("rejects", with_rejects(store).id)

    assert result.status == 0
    assert "\x1b" not in result.out
    lines = [line.split() for line in result.out.splitlines()]
    assert ["3", "tweets.csv", "4", "empty", "text"] in lines
    assert "=1+1,\\x1b]0;title\\x07,[red]x[/red]" in result.out
    assert "a\\nb\\u202ec" in result.out
    assert "1 too many fields" in result.out
    # A row that the worker rejected has no line of the file.
    assert ["2", "-", "-", "scores", "are", "not", "numbers", "raw"] in lines


def test_csv_has_every_reject_and_escapes_formulas(store: Store, command: Command) -> None:
    result = command("rejects", with_rejects(store).id, "--csv")

    assert list(csv.reader(io.StringIO(result.out, newline=""))) == [
        ["row_number", "source_file", "line", "reason", "raw"],
        ["2", "", "", "scores are not numbers", "raw"],
        ["3", "tweets.csv", "4", "empty text", ""],
        ["4", "tweets.csv", "5", "too many fields", "'=1+1,\x1b]0;title\x07,[red]x[/red]"],
        ["5", "tweets.csv", "6", "too few fields", "a\nb\u202ec"],
    ]
    assert (result.status, result.err) == (0, "")


def test_pages_give_every_reject_once(store: Store) -> None:
    job = MadeJob(store)
    job.chunk([], rejects=[("empty text", "")] * 25)

    found = [reject.row_number for reject in rejects(store, job.id, page_rows=10)]

    assert found == list(range(1, 26))


def test_a_long_table_says_how_many_more_there_are(store: Store) -> None:
    job = MadeJob(store)
    job.chunk([], rejects=[("empty text", "x" * 4000)] * 25)

    shown = rendered(render(store, job.id, table_rows=10))

    assert f"the first 10 of 25; all: producer rejects {job.id} --csv" in shown
    assert "x" * 60 + "…" in shown
    assert "x" * 61 not in shown


def test_a_job_without_rejects_says_so(store: Store, command: Command) -> None:
    job = made_job(store, ["fine"])

    assert command("rejects", job.id).out == f"job {job.id} has no rejects\n"
    assert command("rejects", job.id, "--csv").out == "row_number,source_file,line,reason,raw\r\n"


def test_the_rejects_of_a_purged_job_are_gone_and_that_is_said(
    store: Store, command: Command
) -> None:
    job = with_rejects(store)
    purge(store, job.id)

    for result in (command("rejects", job.id), command("rejects", job.id, "--csv")):
        assert result.status == 2
        assert result.err.startswith(f"error: job {job.id} was purged")
        assert result.out == ""
