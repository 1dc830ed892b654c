"""`producer export`: the same rows in CSV, JSONL and Parquet."""

import csv
import io
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from db.ledger.jobs import get_job
from db.ledger.stopping import purge
from db.spreadsheet import safe_cell
from db.store import Store
from producer.exported_rows import ExportColumns, export_columns, pages
from tests.producer.command import Command
from tests.producer.made_jobs import AWKWARD, MadeJob, made_job

HEADER = [
    "row_number",
    "external_id",
    "text",
    "label",
    "confidence",
    "unsure",
    "truncated",
    "model",
    "model_version",
    "engine",
    "labeled_at",
    "scores",
]

#: What a spreadsheet would take for a formula, of the awkward texts, by hand.
ESCAPED = [
    "an ordinary text",
    '\'=HYPERLINK("http://example.org","click")',
    "two\nlines, \"quoted\", and a 'comma'",
    "\x1b[31mred\x1b[0m and [bold]markup[/bold]",
    "שלום 🎉 👩‍👩‍👧 é",
    "'; DROP TABLE jobs; --",
    "'\t=tab first",
    "'＝full width",
    "lone\rcarriage",
    "'  -2+3",
]


def awkward_job(store: Store) -> MadeJob:
    """Make the awkward texts in two chunks, labelled in the wrong order, and two rejects."""
    job = MadeJob(store)
    first = job.chunk(AWKWARD[:4], rejects=[("empty text", ""), ("empty text", "")])
    second = job.chunk(AWKWARD[4:])
    job.label(second, truncated=[7])
    job.label(first, ["fear"])
    assert job.finish() == "done"
    return job


def kept_job(store: Store) -> MadeJob:
    """Rows with kept columns: a formula, a name of ours, a list, a number, a missing one."""
    job = MadeJob(store, options={"keep_columns": ["zone", "text", "=bad", "tags"]})
    extra: list[dict[str, Any]] = [
        {"zone": "=cmd", "text": "theirs", "=bad": "x", "tags": ["a", "b"]},
        {"zone": -5, "text": None, "=bad": True, "tags": None},
    ]
    job.label(job.chunk(["one", "two"], extra=extra))
    assert job.finish() == "done"
    return job


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_csv_on_stdout_has_a_header_and_every_row_in_order_with_formulas_escaped(
    store: Store, command: Command
) -> None:
    job = awkward_job(store)

    result = command("export", job.id)

    rows = read_csv(result.out)
    assert rows[0] == HEADER
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "7", "8", "9", "10", "11", "12"]
    assert [row[2] for row in rows[1:]] == ESCAPED
    assert rows[1][3:10] == ["fear", "0.75", "false", "false", "emotion", "1", "constant"]
    assert rows[5][6] == "true"
    assert datetime.fromisoformat(rows[1][10]).utcoffset() == timedelta(0)
    assert rows[1][11] == '{"anger":0.25,"joy":0.75}'
    assert result.status == 0
    assert result.err.splitlines() == [
        f"rejected rows are not in it: 2; see: producer rejects {job.id}",
        "10 rows written as csv",
    ]


def test_jsonl_keeps_every_text_as_it_is(store: Store, command: Command) -> None:
    result = command("export", awkward_job(store).id, "--format", "jsonl")

    rows = [json.loads(line) for line in result.raw.splitlines()]
    assert [row["text"] for row in rows] == AWKWARD
    assert list(rows[0]) == HEADER
    assert rows[0]["scores"] == {"anger": 0.25, "joy": 0.75}
    assert (rows[0]["unsure"], rows[4]["truncated"], rows[0]["confidence"]) == (False, True, 0.75)


def test_parquet_has_proper_types(store: Store, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"

    result = command("export", awkward_job(store).id, "--out", out)

    assert (result.status, result.out) == (0, "")
    assert result.err.splitlines()[-1] == f"10 rows written as parquet to {out}"
    table = pyarrow.parquet.read_table(out)
    assert table.column_names == HEADER
    assert table["text"].to_pylist() == AWKWARD
    types = {field.name: str(field.type) for field in table.schema}
    assert types["row_number"] == "int64"
    assert types["unsure"] == "bool"
    assert types["labeled_at"] == "timestamp[us, tz=UTC]"
    assert pyarrow.types.is_map(table["scores"].type)
    assert table["scores"][0].as_py() == [("anger", 0.25), ("joy", 0.75)]


def test_parquet_may_go_through_a_pipe_but_not_to_a_terminal(
    store: Store, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = awkward_job(store)

    piped = command("export", job.id, "--format", "parquet")
    assert pyarrow.parquet.read_table(io.BytesIO(piped.raw)).num_rows == 10

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    refused = command("export", job.id, "--format", "parquet")
    assert (refused.status, refused.raw) == (2, b"")
    assert refused.err == (
        "error: Parquet is not for a terminal; give --out PATH or redirect stdout\n"
    )


def test_kept_columns_come_last_under_their_names_or_a_free_one(
    store: Store, command: Command, tmp_path: Path
) -> None:
    job = kept_job(store)
    out = tmp_path / "kept.parquet"

    rows = read_csv(command("export", job.id).out)
    assert rows[0] == [*HEADER, "zone", "extra_text", "'=bad", "tags"]
    assert rows[1][12:] == ["'=cmd", "theirs", "x", '["a","b"]']
    assert rows[2][12:] == ["-5", "", "true", ""]

    lines = command("export", job.id, "--format", "jsonl").out.splitlines()
    assert json.loads(lines[0])["tags"] == ["a", "b"]
    assert json.loads(lines[1])["zone"] == -5
    assert json.loads(lines[0])["text"] == "one"

    command("export", job.id, "--out", out)
    table = pyarrow.parquet.read_table(out)
    assert table["zone"].to_pylist() == ["=cmd", "-5"]
    assert table["extra_text"].to_pylist() == ["theirs", None]
    assert table["tags"].to_pylist() == ['["a","b"]', None]


def test_a_kept_column_that_clashes_twice_still_finds_a_free_name() -> None:
    columns = ExportColumns(("text",), ("extra_text", "text"))

    assert columns.names == ("text", "extra_text", "extra_extra_text")


@pytest.mark.parametrize(
    ("page_rows", "page_characters", "expected"),
    [
        (4, 10**9, [[1, 2, 3, 4], [7, 8, 9, 10], [11, 12]]),
        (100, 1, [[1], [2], [3], [4], [7], [8], [9], [10], [11], [12]]),
        # 16, 41, 35, 38, 15, 22, 10, 11, 13, 6 characters
        (100, 60, [[1, 2], [3], [4, 7], [8, 9, 10, 11], [12]]),
    ],
)
def test_pages_are_bounded_by_rows_and_by_text_and_lose_none(
    store: Store, page_rows: int, page_characters: int, expected: list[list[int]]
) -> None:
    job = get_job(store, awkward_job(store).id)
    columns = export_columns(store, job)

    found = pages(store, job.id, columns, page_rows=page_rows, page_characters=page_characters)

    assert [[row[0] for row in page] for page in found] == expected


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("=1+1", True),
        ("+1", True),
        ("-1", True),
        ("@SUM(A1)", True),
        ("\tx", True),
        ("\rx", True),
        ("\nx", True),
        ("  =1", True),
        ("\u200b=1", True),
        ("\ufeff=1", True),
        ("＋1", True),
        ("－1", True),
        ("＠x", True),
        ("1=1", False),
        ("a-b", False),
        ("'=1", False),
        ("", False),
        (" plain", False),
        ("#@user", False),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str, escaped: bool) -> None:
    assert safe_cell(text) == (f"'{text}" if escaped else text)


def test_an_existing_file_is_replaced_only_with_force(
    store: Store, command: Command, tmp_path: Path
) -> None:
    job = made_job(store, ["x"])
    out = tmp_path / "rows.csv"
    out.write_text("mine")
    link = tmp_path / "link.csv"
    link.symlink_to(out)

    refused = command("export", job.id, "--out", out)
    assert refused.status == 2
    assert refused.err == (
        f"error: {out} exists already; give another --out, or --force to replace it\n"
    )
    assert out.read_text() == "mine"

    assert command("export", job.id, "--out", link, "--force").status == 0
    assert link.is_symlink()
    assert len(read_csv(out.read_text())) == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere/rows.csv", "No such file or directory"),
        ("file/rows.csv", "Not a directory"),
        ("folder", "is a folder"),
        ("/dev/null", "is no regular file"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    store: Store, command: Command, tmp_path: Path, path: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))

    result = command("export", made_job(store, ["x"]).id, "--out", tmp_path / path, "--force")

    assert result.status == 2
    assert why in result.err
    assert result.err.count("\n") == 1
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "store.db"] == [
        path for path in before if path.name != "store.db"
    ]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    store: Store, command: Command, tmp_path: Path, name: str
) -> None:
    # Texts that do not compress; 100 KB of room holds the database's own small files.
    job = made_job(store, [bytes(range(33, 126)).hex() * 400 + str(row) for row in range(20)])
    exports = tmp_path / "exports"
    exports.mkdir()

    with full_disk(1_000 if name == "rows.parquet" else 100_000):
        result = command("export", job.id, "--out", exports / name)

    assert result.status == 2
    assert "File too large" in result.err
    assert "nothing was left there" in result.err
    assert result.err.count("\n") == 1
    assert list(exports.iterdir()) == []


def test_the_rows_of_a_purged_job_are_gone_and_that_is_said(
    store: Store, command: Command, tmp_path: Path
) -> None:
    job = awkward_job(store)
    purge(store, job.id)

    result = command("export", job.id, "--out", tmp_path / "rows.csv")

    assert result.status == 2
    assert result.err == (
        f"error: job {job.id} was purged: its rows are gone, its counts stay; "
        f"see: producer status {job.id}\n"
    )
    assert not (tmp_path / "rows.csv").exists()


def test_a_job_without_texts_is_exported_with_empty_ones_and_says_so(
    store: Store, command: Command
) -> None:
    job = made_job(store, ["never stored"], store_text=False)

    result = command("export", job.id, "--format", "jsonl")

    assert json.loads(result.out)["text"] is None
    assert "--no-store-text" in result.err
    assert "never stored" not in result.out


def test_a_job_that_still_runs_gives_what_there_is_and_says_so(
    store: Store, command: Command
) -> None:
    job = MadeJob(store)
    job.label(job.chunk(["done"]))
    job.chunk(["not yet"])

    result = command("export", job.id)

    assert len(read_csv(result.out)) == 2
    assert result.err.startswith(f"job {job.id} is running: ")


def test_a_job_without_rows_is_a_header(store: Store, command: Command, tmp_path: Path) -> None:
    job = MadeJob(store)
    assert job.finish() == "done"

    assert read_csv(command("export", job.id).out) == [HEADER]
    assert command("export", job.id, "--format", "jsonl").raw == b""
    command("export", job.id, "--out", tmp_path / "none.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").column_names == HEADER
