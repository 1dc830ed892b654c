"""Bad input through the whole pipeline: counted by hand, and it never stops the rest.

Each case is a file, the rows it has, how many of them are rejected and for which reasons. What the
parser makes of a single row is tested beside the parser; here it is shown that the counts hold in
SQL, and that every other row is labelled.
"""

import json
import os
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.cluster import BIN, Cluster, clean_environment, wait_until

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


@dataclass(frozen=True)
class Case:
    """A file's name and bytes, what is expected of it, and the options it is read with.

    `lines` are those on which its rejected rows begin.
    """

    name: str
    content: bytes
    labeled: int
    rejected: int = 0
    reasons: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    code: int = 0
    says: str = ""
    texts: tuple[str, ...] | None = None
    id: str = field(default="")

    def __str__(self) -> str:
        return self.id


def lines(*rows: str) -> bytes:
    return ("\n".join(rows) + "\n").encode()


def cut_gzip(*rows: str) -> bytes:
    """A gzip file that breaks off in the row after these."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(lines(*rows) + b"half a ro") + packer.flush(zlib.Z_SYNC_FLUSH)


def cut_zstd(*rows: str) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return packer.compress(lines(*rows) + b"half a ro") + packer.flush(block)


AWKWARD = (
    "🙂👩‍👩‍👧 happy",
    "שלום עולם",
    "zero\u200bwidth\u200d",
    "e\u0301 combining",
    "'; DROP TABLE jobs; --",
    "$(rm -rf /) `id`",
    "=HYPERLINK(0)",
    "<script>alert(1)</script>",
)
UNCLOSED = ['"never closed' if n == 500 else f"row {n}" for n in range(1, 1001)]
UNCLOSED_AMONG_QUOTES = ['"never closed' if n == 500 else f'"row {n}"' for n in range(1, 1001)]
MEGABYTE = "word " * 200_000

CASES = [
    Case("fields.csv", lines("id,text", "1,one", "2", "3,three,more", "4,four"), 2, 2,
         ("too few fields: 1 of 2", "too many fields: 3 of 2"), (3, 4),
         id="too few and too many fields"),
    Case("quote.csv", lines("text", *UNCLOSED), 999, 1, ("quote never closed",), (501,),
         id="an unclosed quote in 1,000 rows"),
    Case("quotes.csv", lines("text", *UNCLOSED_AMONG_QUOTES), 999, 1, ("quote never closed",),
         (501,), id="an unclosed quote among 999 quoted rows"),
    Case("inside.csv", lines("id,text", '1,"a\nb"', '2,"say ""hi"""', '3,"x,y"'), 3,
         texts=("a\nb", 'say "hi"', "x,y"), id="newline, quote and delimiter inside quotes"),
    Case("nul.csv", b"text\ngood\nb\x00ad\nfine\n", 2, 1, ("NUL character",), (3,),
         id="a NUL byte"),
    Case("surrogate.jsonl", lines('{"text": "ok"}', '{"text": "\\ud800"}', '{"text": "\\ud83d\\ude42"}'),
         2, 1, ("lone surrogate",), (2,), texts=("ok", "🙂"), id="lone surrogates in JSON Lines"),
    Case("invalid.csv", b"text\ngood\nbad \xff\nfine\n", 2, 1, ("invalid utf-8",), (3,),
         id="invalid UTF-8 in one row"),
    Case("latin.csv", "text\ncafé\n".encode("latin-1"), 1, options=("--encoding", "latin-1"),
         texts=("café",), id="read with --encoding"),
    Case("bom.csv", b"\xef\xbb\xbftext\nhello\n", 1, texts=("hello",), id="a byte-order mark"),
    Case("wide.csv", "text\nhello\nwörld\n".encode("utf-16"), 2, texts=("hello", "wörld"), id="UTF-16"),
    Case("crlf.csv", b"text\r\none\r\ntwo\r\n", 2, texts=("one", "two"), id="CRLF"),
    Case("cr.csv", b"text\rone\rtwo\r", 2, texts=("one", "two"), id="lone CR"),
    Case("blank.csv", lines("id,text", "1,", "2,   ", "3,ok"), 1, 2, ("empty text", "empty text"),
         (2, 3), id="empty and blank texts"),
    Case("long.csv", lines("text", "short", MEGABYTE.strip()), 2, id="a text of 1 MB"),
    Case("awkward.jsonl", lines(*(json.dumps({"text": text}) for text in AWKWARD)), len(AWKWARD),
         texts=AWKWARD, id="emoji, scripts, fragments and formulas"),
    Case("duplicate.csv", lines("id,text", "7,one", "7,two"), 2, id="duplicate ids"),
    Case("header.csv", lines("id,text"), 0, id="a header only"),
    Case("empty.csv", b"", 0, code=2, says="empty", id="an empty file"),
    Case("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20, 0, code=2,
         says="binary", id="a binary file called .csv"),
    Case("cut.csv.gz", cut_gzip("text", *(f"row {n}" for n in range(1, 1001))), 1000,
         code=1, says="cut.csv.gz", id="a truncated .gz"),
    Case("cut.csv.zst", cut_zstd("text", *(f"row {n}" for n in range(1, 1001))), 1000,
         code=1, says="cut.csv.zst", id="a truncated .zst"),
    Case("column.csv", lines("id,txet,n", "1,one,2"), 0, options=("--text-column", "text"), code=2,
         says="txet", id="a missing text column"),
    Case("list.jsonl", lines('{"text": "ok"}', "[1, 2]", '"text"', "{broken"), 1, 3,
         id="a line that is no object"),
    Case("all.csv", lines("id,text", "1,", "2,"), 0, 2, code=1, says="every row was rejected",
         id="every row rejected"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_row_is_accounted_for(hashing: Cluster, tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.content)
    before = hashing.value("SELECT coalesce(max(id), 0) FROM jobs")
    done = hashing.producer("ingest", path, "--wait", "--json", *case.options)
    assert done.returncode == case.code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == (1 if case.code else 0), done.stderr
    assert "Traceback" not in done.stderr
    if case.says:
        assert case.says in errors[0]
    if case.code == 2:
        assert hashing.value("SELECT coalesce(max(id), 0) FROM jobs") == before
        assert done.stdout == ""
        return
    job = hashing.value("SELECT max(id) FROM jobs")
    stored = hashing.rows(
        "SELECT * FROM labeled_texts WHERE job_id = :job ORDER BY row_number", job=job
    )
    rejects = hashing.rows("SELECT * FROM rejects WHERE job_id = :job ORDER BY row_number", job=job)
    rows = hashing.value(
        "SELECT coalesce(sum(row_count), 0) FROM chunks WHERE job_id = :job", job=job
    )
    assert len(stored) + len(rejects) == rows
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert (told["job"], told["rows"], told["labeled"], told["rejected"]) == (
        job, rows, len(stored), len(rejects)
    )  # fmt: skip
    numbers = sorted(row.row_number for row in [*stored, *rejects])
    assert numbers == list(range(1, rows + 1))
    assert (len(stored), len(rejects)) == (case.labeled, case.rejected)
    for expected, reject in zip(case.reasons, rejects, strict=False):
        assert reject.reason.startswith(expected)
    assert tuple(reject.line for reject in rejects)[: len(case.lines)] == case.lines
    if case.texts is not None:
        assert tuple(row.text for row in stored) == case.texts
    for row in stored:
        assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]


def test_256_texts_of_a_megabyte_are_truncated_and_labelled(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for number in range(256):
            file.write(
                json.dumps({"text": f"{number} i feel so happy " + "and glad " * 115_000}) + "\n"
            )
    cluster.start_worker()
    result = cluster.ingest(path)
    assert (result["rows"], result["labeled"], result["rejected"]) == (256, 256, 0)
    assert cluster.value("SELECT count(*) FROM labeled_texts WHERE truncated") == 256
    assert cluster.value("SELECT min(length(text)) FROM labeled_texts") > 1_000_000


def missing(folder: Path) -> Path:
    return folder / "nowhere.csv"


def a_folder(folder: Path) -> Path:
    (folder / "folder").mkdir()
    return folder / "folder"


def numbers_parquet(folder: Path) -> Path:
    path = folder / "numbers.parquet"
    pq.write_table(pa.table({"text": [1, 2, 3]}), path)
    return path


UNUSABLE: list[Callable[[Path], Path]] = [missing, a_folder, numbers_parquet]


@pytest.mark.parametrize("make", UNUSABLE)
def test_what_cannot_be_a_source_is_one_line_and_status_2(
    hashing: Cluster, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    done = hashing.producer("ingest", path, "--wait")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert path.name in done.stderr


def producer_without_privileges(
    cluster: Cluster, *arguments: str | Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `producer` as one for whom the permissions of files count, root included."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read every file, and there is no setpriv to give that up")
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    return subprocess.run(
        [*prefix, BIN / "producer", *arguments],
        env=clean_environment(**{**cluster.settings, **settings}),
        cwd=cluster.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_without_permission_is_one_line_and_status_2(
    hashing: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("text\nhello\n")
    path.chmod(0)
    done = producer_without_privileges(hashing, "ingest", path, "--wait")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "no permission to read" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LABELSTREAM_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none"),
        ("LABELSTREAM_BROKER_URL", "redis://127.0.0.1:9/0"),
    ],
)
def test_a_service_that_cannot_be_reached_is_status_2_within_30_seconds(
    hashing: Cluster, tmp_path: Path, name: str, value: str
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("text\nhello\n")
    done = hashing.producer("ingest", path, "--wait", timeout=30, **{name: value})
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert name in done.stderr


def test_a_broker_that_takes_connections_and_says_nothing_cannot_be_reached(
    hashing: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("text\nhello\n")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        done = hashing.producer("ingest", path, "--wait", timeout=30, LABELSTREAM_BROKER_URL=url)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "LABELSTREAM_BROKER_URL" in done.stderr


def test_a_worker_that_waits_for_its_broker_leaves_when_it_is_told_to(cluster: Cluster) -> None:
    worker = cluster.start_worker(
        wait=False, LABELSTREAM_BROKER_URL="redis://127.0.0.1:9/0", LABELSTREAM_ENGINE="constant"
    )
    log = cluster.worker_log(0)
    wait_until(lambda: "trying again until it can" in log.read_text(), 60, "it tries")
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    assert "Traceback" not in log.read_text()


def test_an_unwritable_home_folder_is_one_line_and_status_2(
    hashing: Cluster, tmp_path: Path
) -> None:
    few = tmp_path / "few.csv"
    few.write_text("text\nhello\n")
    file = tmp_path / "file"
    file.touch()
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for home in (file / "home", locked, locked / "home"):
        done = producer_without_privileges(
            hashing,
            "ingest",
            few,
            LABELSTREAM_HOME_DIR=str(home),
            LABELSTREAM_BROKER_URL="",
            LABELSTREAM_DATABASE_URL="",
        )
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "LABELSTREAM_HOME_DIR" in done.stderr


def test_too_many_rejects_fail_the_job(hashing: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text(
        "id,text\n" + "".join(f"{n},{'' if n % 10 == 0 else 'fine'}\n" for n in range(1, 101))
    )
    few = hashing.producer("ingest", path, "--wait", "--max-rejects", "9", "--job-key", "nine")
    assert few.returncode == 1
    assert "10 of 100 rows were rejected, more than --max-rejects 9" in few.stderr
    enough = hashing.producer("ingest", path, "--wait", "--max-rejects", "10%", "--job-key", "ten")
    assert enough.returncode == 0, enough.stderr
