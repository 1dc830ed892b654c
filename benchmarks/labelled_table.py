"""A database on PostgreSQL as months of use leave it, made by SQL alone: for `benchmarks.queries`.

Ten jobs over 30 days: the first has two fifths of the labelled texts, the second a fifth, and the last
two relabelled the first rows of the first, so that those ids are there thrice. Version 2 labels from the
22nd day on. One row of 101 is a reject. No two rows have the same time, ids and texts are like tweets',
and `customers` knows a fiftieth of the ids.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import text

from db.ledger.jobs import create_job
from db.registry.versions import add_version
from db.store import Store
from tests.db.models import new_version
from tests.producer.made_jobs import new_job

LABELS = ("anger", "fear", "joy", "love", "sadness", "surprise")

#: Of all labelled texts, those of each job, in twentieths.
SHARES = (8, 4, 1, 1, 1, 1, 1, 1, 1, 1)

#: The jobs that relabelled the first one's rows.
RELABELS = (9, 10)

DAYS = 30
FIRST_DAY = "2026-01-01 00:00:00+00"

#: Labelled texts that are written in one transaction.
BATCH = 500_000

#: Of the labelled texts, one in so many is known to `customers`.
KNOWN_TO_CUSTOMERS = 50

_PHRASES = (
    "i feel like i have been",
    "waiting for the rain to stop",
    "and my friend says that it",
    "was never meant to be so",
    "quiet in here on a monday",
    "because nobody told me about the",
    "train that left an hour ago",
    "with all of our bags inside",
)

#: `i` counts a job's labelled texts from 1, `g` those of all jobs; `u` is spread evenly from 0 to 1.
_LABELED_TEXTS = """
INSERT INTO labeled_texts (
    job_id, row_number, external_id, id_scope, text_hash, text, truncated, label, confidence, scores,
    labels, unsure, model, model_version, engine, extra, labeled_at)
SELECT :job, i + (i - 1) / 100, (1500000000000000000 + id)::text, :scope, md5(words), words, false,
       label, confidence,
       jsonb_build_object(
           'anger', other, 'fear', other, 'joy', other, 'love', other, 'sadness', other, 'surprise',
           other) || jsonb_build_object(label, confidence),
       NULL, false, 'emotion', CASE WHEN 10 * g <= 7 * :all THEN 1 ELSE 2 END, 'openvino', NULL, at
FROM (
    SELECT i, g, CASE WHEN :relabels THEN i ELSE g END AS id,
           phrases[1 + g % 8] || ' ' || phrases[1 + g / 8 % 8] || ' ' || phrases[1 + g / 64 % 8]
               || ' ' || phrases[1 + g / 512 % 8] || ' ' || g AS words,
           CASE WHEN g * 37 % 100 < 34 THEN 'joy' WHEN g * 37 % 100 < 63 THEN 'sadness'
                WHEN g * 37 % 100 < 77 THEN 'anger' WHEN g * 37 % 100 < 89 THEN 'fear'
                WHEN g * 37 % 100 < 97 THEN 'love' ELSE 'surprise' END AS label,
           1 - 0.65 * power(u, 4) AS confidence, 0.13 * power(u, 4) AS other,
           CAST(:first_day AS timestamptz) + (g::float8 / :all) * interval '1 day' * :days AS at
    FROM (
        SELECT i, :before + i AS g, (:before + i) * 2654435761 % 4294967296 / 4294967296.0::float8 AS u,
               CAST(:phrases AS text[]) AS phrases
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) i
    ) numbered
) made
"""

_REJECTS = """
INSERT INTO rejects (job_id, row_number, source_file, line, reason, raw)
SELECT :job, 101 * n, :scope, 101 * n + 1,
       (ARRAY['empty text', 'empty text', 'too few fields: 1 of 2', 'text holds NUL'])[1 + n % 4], ''
FROM generate_series(1, CAST(:rows AS bigint) / 101) n
"""

#: A chunk covers the job's rows after `start` up to `stop`; every 101st of them is a reject.
_CHUNKS = """
INSERT INTO chunks (
    job_id, number, row_count, rejected_parsed, labeled, rejected_worker, state, queue, queued_at,
    sent_at, claims, claimed_at, suspect, claimed_alone, strikes, worker, engine, model_version, tokens,
    busy_seconds, done_at)
SELECT :job, c, stop - start, stop / 101 - start / 101, stop - start - (stop / 101 - start / 101), 0,
       'done', 'labelstream', at, at, 1, at, false, false, 0, 'celery@host', 'openvino',
       CASE WHEN 10 * (:before + stop) <= 7 * :all THEN 1 ELSE 2 END, 22 * (stop - start),
       0.001 * (stop - start), at
FROM (
    SELECT c, 256 * (c - 1) AS start, least(256 * c, :rows) AS stop,
           CAST(:first_day AS timestamptz)
               + (least(:before + 256 * c, :all)::float8 / :all) * interval '1 day' * :days AS at
    FROM generate_series(CAST(1 AS bigint), (CAST(:rows AS bigint) + 255) / 256) c
) made
"""

_CUSTOMERS = """
INSERT INTO customers
SELECT (1500000000000000000 + :every * n)::text,
       (ARRAY['north', 'east', 'south', 'west', 'overseas'])[1 + n % 5]
FROM generate_series(1, CAST(:all AS bigint) / :every) n
"""


@dataclass(frozen=True)
class MadeJob:
    """One job: its number, its labelled texts, and those of the jobs before it."""

    id: int
    labeled: int
    before: int

    @property
    def rows(self) -> int:
        """Rows read: every 101st is a reject."""
        return self.labeled + max(self.labeled - 1, 0) // 100


def fill(store: Store, labeled: int, say: Callable[[str], None]) -> list[MadeJob]:
    """Fill the migrated, empty `store` with `labeled` labelled texts, and return its jobs.

    The indexes of labeled_texts are made after its rows, as they stood; at the end is what
    autovacuum would have done.
    """
    for number in (1, 2):
        add_version(
            store, new_version(labels=LABELS, adapter=f"folder-{number}"), who="a benchmark"
        )
    jobs = [_job(store, number, labeled) for number in range(1, len(SHARES) + 1)]
    started = time.monotonic()
    with without_indexes(store):
        for job in jobs:
            _fill_job(store, job, labeled)
            say(f"job {job.id}: {job.labeled:,} texts after {time.monotonic() - started:.0f} s")
    say(f"indexes after {time.monotonic() - started:.0f} s")
    with store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE customers (tweet_id TEXT PRIMARY KEY, region TEXT)"
        )
        connection.execute(text(_CUSTOMERS), {"all": labeled, "every": KNOWN_TO_CUSTOMERS})
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE)")
        connection.exec_driver_sql("CHECKPOINT")
    say(f"all of it after {time.monotonic() - started:.0f} s")
    return jobs


@contextmanager
def without_indexes(store: Store) -> Iterator[None]:
    """Drop the indexes of labeled_texts but its key, and make them again after the block."""
    query = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'labeled_texts' "
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    )
    with store.write() as connection:
        indexes = connection.exec_driver_sql(query).all()
        for index in indexes:
            connection.exec_driver_sql(f'DROP INDEX "{index.indexname}"')
    yield
    with store.write() as connection:
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
        for index in indexes:
            connection.exec_driver_sql(index.indexdef)


def _job(store: Store, number: int, labeled: int) -> MadeJob:
    scope = f"tweets-{1 if number in RELABELS else number}.csv"
    parent = 1 if number in RELABELS else None
    new = new_job(name=f"tweets-{number}.csv", id_scope=scope, parent_job=parent)
    made = create_job(store, new, "a benchmark").job
    before = labeled * sum(SHARES[: number - 1]) // sum(SHARES)
    return MadeJob(made, labeled * sum(SHARES[:number]) // sum(SHARES) - before, before)


def _fill_job(store: Store, job: MadeJob, labeled: int) -> None:
    values = {
        "job": job.id,
        "before": job.before,
        "rows": job.rows,
        "all": labeled,
        "days": DAYS,
        "first_day": FIRST_DAY,
        "scope": f"tweets-{1 if job.id in RELABELS else job.id}.csv",
    }
    more = {"phrases": list(_PHRASES), "relabels": job.id in RELABELS}
    for first in range(1, job.labeled + 1, BATCH):
        batch = {"first": first, "last": min(first + BATCH - 1, job.labeled)}
        with store.write() as connection:
            connection.execute(text(_LABELED_TEXTS), {**values, **more, **batch})
    with store.write() as connection:
        connection.execute(text(_REJECTS), values)
        connection.execute(text(_CHUNKS), values)
        connection.execute(
            text("UPDATE jobs SET state = 'done', producer_token = NULL, source_exhausted = true,"
                 " next_chunk = (:rows + 255) / 256 + 1, finished_at = now() WHERE id = :job"),
            values,
        )  # fmt: skip
