"""A finished job of many rows, and one that runs, made by SQL alone."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import insert, text

from db.registry.versions import add_version, list_versions
from db.schema import Chunk
from db.store import Store
from tests.db.ledger_parts import begin
from tests.db.models import new_version

#: The day on which all rows of the finished job were labelled.
DAY = date(2026, 3, 1)

LABELS = ("anger", "fear", "joy", "love", "sadness", "surprise")

#: Numbers from 1 up to the number of rows.
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows)",
    "postgresql": "WITH numbers (i) AS (SELECT generate_series(1, CAST(:rows AS bigint)))",
}

#: The time of row `at`, over two hours; the rows of a chunk have the time of its closing.
_TIME = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', '2026-03-01', (7200.0 * {at} / :rows) || ' seconds') || '000'",
    "postgresql": "timestamptz '2026-03-01 00:00:00+00' + interval '7200 seconds' * ({at} * 1.0 / :rows)",
}

_JSON = {"sqlite": "'{}'", "postgresql": "CAST('{}' AS jsonb)"}

_ROWS = """
INSERT INTO labeled_texts (
    job_id, row_number, external_id, id_scope, text_hash, text, truncated, label, confidence, scores,
    unsure, model, model_version, engine, labeled_at)
{numbers}
SELECT 1, i, NULL, 'tweets.csv', 'hash' || i,
       'tweet ' || i || CASE WHEN i % 2 = 0 THEN ' what a lovely morning' ELSE ' late again' END
           || CASE WHEN i = :needle THEN ' needle in the hay' ELSE '' END,
       i % 50 = 0,
       CASE WHEN i * 37 % 100 < 34 THEN 'joy' WHEN i * 37 % 100 < 63 THEN 'sadness'
            WHEN i * 37 % 100 < 77 THEN 'anger' WHEN i * 37 % 100 < 89 THEN 'fear'
            WHEN i * 37 % 100 < 97 THEN 'love' ELSE 'surprise' END,
       0.2 + 0.8 * (i * 2654435761 % 1000003 / 1000003.0), {json},
       i * 2654435761 % 1000003 < 100000, 'emotion', 1, 'openvino', {time}
FROM numbers
"""

_CHUNKS = """
INSERT INTO chunks (
    job_id, number, row_count, rejected_parsed, labeled, rejected_worker, state, queue, queued_at,
    sent_at, claims, claimed_at, suspect, claimed_alone, strikes, worker, engine, model_version, tokens,
    busy_seconds, done_at)
{numbers}
SELECT 1, i, 250, 0, 250, 0, 'done', 'labelstream', {time}, {time}, 1, {time}, false, false, 0,
       'celery@host', 'openvino', 1, 5500, 0.25, {time}
FROM numbers WHERE i <= :rows / 250
"""


def fill(store: Store, rows: int) -> None:
    """Fill the migrated `store`, which has no job yet, with one of `rows` labelled rows.

    `rows` is a multiple of 250. The text of the last row but ten alone has "needle" in it. A model is
    made where there is none.
    """
    if not list_versions(store, "emotion"):
        add_version(store, new_version(labels=LABELS, adapter="folder-1"), who="a test")
    made = {"numbers": _NUMBERS[store.dialect], "json": _JSON[store.dialect]}
    time = _TIME[store.dialect]
    with store.write() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, source, identity, source_identity, options, model, model_ref,"
                " id_scope, store_text, state, hidden, queue, continues, position, next_chunk,"
                " source_exhausted, created_at, finished_at) VALUES (1, 'tweets.csv', 'one', 'one',"
                f" {_JSON[store.dialect]}, 'emotion', 'emotion@production', 'tweets.csv', true, 'done',"
                f" false, 'labelstream', true, {_JSON[store.dialect]}, :chunk, true,"
                " :begun, :ended)"
            ),
            {
                "chunk": rows // 250 + 1,
                "begun": "2026-03-01 00:00:00.000000",
                "ended": "2026-03-01 02:00:00.000000",
            },
        )
        connection.execute(
            text(_CHUNKS.format(**made, time=time.format(at="(i * 250)"))), {"rows": rows}
        )
        connection.execute(
            text(_ROWS.format(**made, time=time.format(at="((i + 249) / 250 * 250)"))),
            {"rows": rows, "needle": rows - 10},
        )
        if store.dialect == "postgresql":
            connection.execute(text("SELECT setval(pg_get_serial_sequence('jobs', 'id'), 1)"))
        connection.execute(text("ANALYZE"))


def fill_running(store: Store, chunks: int) -> int:
    """Add a job that runs, of so many chunks of 250 rows each; return its number.

    One was closed every five seconds until now; ten more are open.
    """
    job = begin(store, identity="two", name="endless", stream="stdin").job
    now = datetime.now(UTC)
    with store.write() as connection:
        connection.execute(
            insert(Chunk),
            [
                {
                    "job_id": job,
                    "number": number,
                    "row_count": 250,
                    "labeled": 250 if number <= chunks else 0,
                    "state": "done" if number <= chunks else "queued",
                    "queue": "labelstream",
                    "engine": "openvino" if number <= chunks else None,
                    "model_version": 1 if number <= chunks else None,
                    "tokens": 5500 if number <= chunks else None,
                    "busy_seconds": 0.25 if number <= chunks else None,
                    "queued_at": now - timedelta(seconds=_age(chunks - number) + 3),
                    "done_at": now - timedelta(seconds=_age(chunks - number))
                    if number <= chunks
                    else None,
                }
                for number in range(1, chunks + 11)
            ],
        )
    return job


def _age(newer: int) -> float:
    """Return how many seconds ago a chunk was closed after which so many were."""
    return 5.0 * max(newer, 0) + 3
