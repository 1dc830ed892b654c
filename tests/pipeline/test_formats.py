"""Every format, packed or not, by path, glob and URL, in one job; and what stands in SQL then."""

import gzip
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.cluster import Cluster
from tests.file_server import serve_folder

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


def write_sources(folder: Path) -> None:
    (folder / "a.csv").write_text("id,text,lang\n1,one,en\n1,one again,\n")
    (folder / "b.tsv").write_text("lang\ttext\tid\nfr\tdeux\t2\n")
    (folder / "c.jsonl").write_text('{"id": 3, "text": "three", "lang": null}\n{"id": 4}\n')
    (folder / "d.csv.gz").write_bytes(gzip.compress(b"id,text,lang\n5,five,en\n"))
    packed = zstandard.ZstdCompressor().compress(b'{"id": "6", "text": "six", "lang": "de"}\n')
    (folder / "e.jsonl.zst").write_bytes(packed)
    table = pa.table({"id": [7], "text": ["seven"], "lang": ["en"]})
    pq.write_table(table, folder / "f.parquet")
    (folder / "remote").mkdir()
    (folder / "remote" / "g.csv").write_text("id,text,lang\n8,eight,en\n")


def test_sources_of_every_format_are_one_job(hashing: Cluster, tmp_path: Path) -> None:
    write_sources(tmp_path)
    with serve_folder(tmp_path / "remote") as address:
        sources = (tmp_path / "[a-e].*", tmp_path / "f.parquet", f"http://{address}/g.csv")
        result = hashing.ingest(*sources, "--keep-columns", "lang")
    assert (result["rows"], result["labeled"], result["rejected"]) == (9, 8, 1)
    rows = hashing.rows(
        "SELECT row_number, external_id, text, label, extra FROM labeled_texts"
        " WHERE job_id = :job ORDER BY row_number",
        job=result["job"],
    )
    assert [(row.row_number, row.external_id, row.text) for row in rows] == [
        (1, "1", "one"),
        (2, "1", "one again"),
        (3, "2", "deux"),
        (4, "3", "three"),
        (6, "5", "five"),
        (7, "6", "six"),
        (8, "7", "seven"),
        (9, "8", "eight"),
    ]
    kept = [row.extra.replace(" ", "") for row in rows]
    assert kept[:4] == ['{"lang":"en"}', '{"lang":""}', '{"lang":"fr"}', '{"lang":null}']
    assert [row.label for row in rows] == [
        LABELS[zlib.crc32(row.text.encode()) % len(LABELS)] for row in rows
    ]
    (reject,) = hashing.rows("SELECT * FROM rejects WHERE job_id = :job", job=result["job"])
    assert (reject.row_number, reject.line) == (5, 2)
    assert reject.source_file == str(tmp_path / "c.jsonl")


def test_plain_lines_are_texts(hashing: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one, two\n\nthree")
    result = hashing.ingest(path)
    assert (result["rows"], result["labeled"], result["rejected"]) == (3, 2, 1)


def test_without_texts_in_the_database_none_is_there(hashing: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "private.csv"
    path.write_text("id,text\n1,wombatsecret\n2,wombatsecret,too many\n")
    result = hashing.ingest(path, "--no-store-text")
    assert (result["labeled"], result["rejected"]) == (1, 1)
    for table in ("labeled_texts", "rejects", "chunks"):
        rows = hashing.rows(f"SELECT * FROM {table} WHERE job_id = :job", job=result["job"])
        assert len(rows) == 1
        assert "wombatsecret" not in str(rows)
