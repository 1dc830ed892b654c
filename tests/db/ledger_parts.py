"""Jobs, chunks and results as small as they can be, for tests of the ledger's rules."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from db.ledger.claiming import Claim, JobFacts, claim, look_at
from db.ledger.jobs import create_job
from db.ledger.payload import ChunkRows, unpack
from db.ledger.producing import JobWriter, NewReject
from db.ledger.results import ChunkResult, LabeledRows, WorkerReject
from db.store import Store
from db.text import text_hash
from tests.producer.made_jobs import new_job


def begin(store: Store, **values: Any) -> JobWriter:
    """Make a running job, and return its writer."""
    return JobWriter(store, create_job(store, new_job(**values), "producer-1"), "labelstream")


def chunk_rows(first: int, count: int) -> ChunkRows:
    """Return `count` rows from row number `first`."""
    numbers = list(range(first, first + count))
    return ChunkRows(numbers, [f"text {n}" for n in numbers], [f"id-{n}" for n in numbers])


def parsed_rejects(first: int, count: int) -> list[NewReject]:
    """Return `count` rejects of the parser from row number `first`."""
    return [NewReject(n, "rows.csv", n + 1, "empty text", "") for n in range(first, first + count)]


def add(writer: JobWriter, first: int, count: int, rejected: int = 0) -> int:
    """Add a chunk of `count` rows and then `rejected` rejects; return its number (0: none to send)."""
    rejects = parsed_rejects(first + count, rejected)
    position = {"row": first + count + rejected - 1}
    return writer.add_chunk(chunk_rows(first, count), rejects, position) or 0


def facts(store: Store, job: int, number: int) -> JobFacts:
    """Return what a worker knows of the job."""
    state = look_at(store, job, number)
    assert state is not None
    return state.job


def held(store: Store, job: int, number: int, worker: str = "worker-1") -> Claim:
    """Claim a chunk, which must succeed."""
    taken = claim(store, facts(store, job, number), number, worker)
    assert taken is not None
    return taken


def result_of(
    taken: Claim, label: str = "joy", *, rejected: Sequence[int] = (), version: int = 1
) -> ChunkResult:
    """Return what a worker makes of a chunk: `label` for each row, but those in `rejected`."""
    rows = unpack(taken.payload)
    kept = [place for place, number in enumerate(rows.row_numbers) if number not in rejected]
    texts = [rows.texts[place] for place in kept]
    count = len(kept)
    labeled = LabeledRows(
        row_numbers=[rows.row_numbers[place] for place in kept],
        external_ids=[rows.external_ids[place] for place in kept],
        texts=texts,
        text_hashes=[text_hash(each) for each in texts],
        truncated=[False] * count,
        labels=[label] * count,
        confidences=[0.75] * count,
        scores=[f'{{"{label}":0.75}}'] * count,
        every_label=[None] * count,
        unsure=[False] * count,
        extra=[None] * count,
    )
    rejects = [WorkerReject(number, "logits not finite", "raw") for number in rejected]
    return ChunkResult("emotion", version, "constant", labeled, rejects, 100, 0.5)


def value(store: Store, query: str, **parameters: Any) -> Any:
    """Return the one value that `query` selects."""
    with store.read() as connection:
        return connection.execute(text(query), parameters).scalar_one()


def change(store: Store, statement: str, **parameters: Any) -> None:
    """Run a statement that writes."""
    with store.write() as connection:
        connection.execute(text(statement), parameters)


def past(store: Store, seconds: float) -> str:
    """Return the SQL of the database's time `seconds` ago (negative: from now)."""
    if store.dialect == "sqlite":
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '{-seconds:+} seconds') || '000'"
    return f"clock_timestamp() - interval '{seconds} seconds'"
