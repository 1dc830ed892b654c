"""Jobs made by the ledger's own functions, without producer, worker or model."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.ledger.claiming import claim, look_at
from db.ledger.ending import end_if_complete
from db.ledger.jobs import NewJob, create_job
from db.ledger.payload import ChunkRows
from db.ledger.producing import JobWriter, NewReject
from db.ledger.results import ChunkResult, LabeledRows, WorkerReject
from db.store import Store, dump_json
from db.text import text_hash
from tests.db.closings import close_chunk

SCORES = {"joy": 0.75, "anger": 0.25}

#: Texts that break what is careless; row 1 is the first.
AWKWARD = [
    "an ordinary text",
    '=HYPERLINK("http://example.org","click")',
    "two\nlines, \"quoted\", and a 'comma'",
    "\x1b[31mred\x1b[0m and [bold]markup[/bold]",
    "שלום 🎉 👩‍👩‍👧 é",
    "'; DROP TABLE jobs; --",
    "\t=tab first",
    "＝full width",
    "lone\rcarriage",
    "  -2+3",
]


def new_job(**values: Any) -> NewJob:
    """Return a job to be made, the same but for `values`."""
    name = values.pop("name", "tweets.csv")
    standard: dict[str, Any] = {
        "source": name,
        "identity": f"identity of {name}",
        "source_identity": f"source {name}",
        "id_scope": name,
        "options": {},
        "model": "emotion",
        "model_ref": "emotion@production",
        "queue": "labelstream",
        "position": {},
    }
    return NewJob(**{**standard, **values})


class MadeJob:
    """A running job, to which a test adds what it needs."""

    def __init__(self, store: Store, **values: Any) -> None:
        self._store = store
        production = create_job(store, new_job(**values), "producer-1")
        self.id = production.job
        self._writer = JobWriter(store, production, "labelstream")
        self._next_row = 1

    def chunk(
        self,
        texts: Sequence[str],
        rejects: Sequence[tuple[str, str | None]] = (),
        extra: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> int:
        """Enter texts, and rejects of the parser (reason, raw) after them; return the chunk."""
        first = self._next_row
        numbers = list(range(first, first + len(texts)))
        self._next_row = first + len(texts) + len(rejects)
        new_rejects = [
            NewReject(number, "tweets.csv", number + 1, reason, raw)
            for number, (reason, raw) in enumerate(rejects, numbers[-1] + 1 if numbers else first)
        ]
        rows = ChunkRows(
            numbers,
            list(texts),
            [f"id-{number}" for number in numbers],
            list(extra) if extra is not None else None,
        )
        number = self._writer.add_chunk(rows, new_rejects, {"row": self._next_row})
        return number or 0

    def label(
        self,
        chunk: int,
        labels: Sequence[str] = (),
        *,
        version: int = 1,
        truncated: Sequence[int] = (),
        rejected: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Close a chunk with `labels` (joy where there are fewer); `rejected` rows are not labelled."""
        state = look_at(self._store, self.id, chunk)
        assert state is not None
        held = claim(self._store, state.job, chunk, "worker-1")
        assert held is not None
        from db.ledger.payload import unpack

        rows = unpack(held.payload)
        refused = {number for number, _ in rejected}
        extras = rows.extra or [None] * len(rows)
        kept = [place for place, number in enumerate(rows.row_numbers) if number not in refused]
        numbers = [rows.row_numbers[place] for place in kept]
        texts = [rows.texts[place] for place in kept]
        extra = [extras[place] for place in kept]
        count = len(kept)
        labeled = LabeledRows(
            row_numbers=numbers,
            external_ids=[rows.external_ids[place] for place in kept],
            texts=texts,
            text_hashes=[text_hash(text) for text in texts],
            truncated=[number in truncated for number in numbers],
            labels=[labels[place] if place < len(labels) else "joy" for place in kept],
            confidences=[0.75] * count,
            scores=[dump_json(SCORES)] * count,
            every_label=[None] * count,
            unsure=[False] * count,
            extra=[None if each is None else dump_json(each) for each in extra],
        )
        rejects = [WorkerReject(number, reason, "raw") for number, reason in rejected]
        result = ChunkResult("emotion", version, "constant", labeled, rejects, 100, 0.5)
        assert close_chunk(self._store, held, result)

    def finish(self, error: str | None = None) -> str:
        """Say that the source has nothing more; return the job's state then."""
        self._writer.exhaust(error)
        return end_if_complete(self._store, self.id)


def made_job(store: Store, texts: Sequence[str], **values: Any) -> MadeJob:
    """Return a finished job of one chunk, every text labelled joy."""
    job = MadeJob(store, **values)
    job.label(job.chunk(texts))
    assert job.finish() == "done"
    return job
