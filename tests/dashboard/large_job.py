"""A finished job of many rows, made by SQL alone."""

from sqlalchemy import text

from db.registry.versions import add_version, list_versions
from db.store import Store
from tests.db.models import new_version

LABELS = ("anger", "fear", "joy", "love", "sadness", "surprise")

#: Numbers from 1 up to the number of rows.
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows)",
    "postgresql": "WITH numbers (i) AS (SELECT generate_series(1, CAST(:rows AS bigint)))",
}

#: The time of row `at`, over two hours.
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
            text(_ROWS.format(**made, time=time.format(at="i"))),
            {"rows": rows, "needle": rows - 10},
        )
        connection.execute(text("ANALYZE"))
