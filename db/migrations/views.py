"""The SQL of the view `current_labels`, for both databases, as it was and as it is."""

from collections.abc import Sequence

#: Of a row's corrections the newest.
_NEWEST = """
placed AS (
    SELECT id, job_id, row_number, label, annotator, at,
           ROW_NUMBER() OVER (
               PARTITION BY job_id, row_number ORDER BY at DESC, id DESC
           ) AS place
    FROM corrections
),
newest_corrections AS (SELECT * FROM placed WHERE place = 1)
"""

#: Of those of them that count: each annotator's newest entry, unless it has no label. Without
#: window functions, of whose places PostgreSQL expects one row in two hundred to be the first: it
#: would look through hundreds of corrections for each of millions of rows, instead of hashing them.
_NEWEST_THAT_COUNTS = """
counting AS (
    SELECT c.id, c.job_id, c.row_number, c.label, c.annotator, c.at
    FROM corrections c
    WHERE c.label IS NOT NULL
      AND NOT EXISTS (
          SELECT 1 FROM corrections later
          WHERE later.job_id = c.job_id AND later.row_number = c.row_number
            AND later.annotator = c.annotator AND (later.at, later.id) > (c.at, c.id)
      )
),
newest_corrections AS (
    SELECT c.*
    FROM counting c
    WHERE NOT EXISTS (
        SELECT 1 FROM counting later
        WHERE later.job_id = c.job_id AND later.row_number = c.row_number
          AND (later.at, later.id) > (c.at, c.id)
    )
)
"""

#: The newest row under a key (scope and external id, else the text's hash, else the row itself);
#: the newest correction of any row under that key wins over the model's label, if the version of
#: the newest row knows it. `{known_label}` differs between the databases.
_CURRENT_LABELS = """
{create} VIEW current_labels AS
WITH {newest_corrections},
keyed AS (
    SELECT t.*,
           CASE WHEN t.external_id IS NOT NULL THEN t.id_scope END AS key_scope,
           CASE WHEN t.external_id IS NULL THEN t.text_hash END AS key_text,
           CASE WHEN t.external_id IS NULL AND t.text_hash IS NULL THEN t.job_id END AS key_job,
           CASE WHEN t.external_id IS NULL AND t.text_hash IS NULL THEN t.row_number END AS key_row,
           c.id AS correction_id, c.label AS correction_label,
           c.annotator AS correction_annotator, c.at AS correction_at
    FROM labeled_texts t
    LEFT JOIN newest_corrections c
      ON c.job_id = t.job_id AND c.row_number = t.row_number
),
ranked AS (
    SELECT k.*,
           ROW_NUMBER() OVER (
               PARTITION BY model, external_id, key_scope, key_text, key_job, key_row
               ORDER BY labeled_at DESC, job_id DESC, row_number DESC
           ) AS place,
           FIRST_VALUE(correction_label) OVER newest_first AS newest_label,
           FIRST_VALUE(correction_annotator) OVER newest_first AS newest_annotator,
           FIRST_VALUE(correction_at) OVER newest_first AS newest_at
    FROM keyed k
    WINDOW newest_first AS (
        PARTITION BY model, external_id, key_scope, key_text, key_job, key_row
        ORDER BY CASE WHEN correction_id IS NULL THEN 1 ELSE 0 END,
                 correction_at DESC, correction_id DESC
    )
),
decided AS (
    SELECT r.*, {known_label} AS corrected
    FROM ranked r
    JOIN model_versions v ON v.model = r.model AND v.version = r.model_version
    WHERE r.place = 1
)
SELECT model, id_scope, external_id, text_hash, text,
       CASE WHEN corrected THEN newest_label ELSE label END AS label,
       label AS model_label, corrected,
       CASE WHEN corrected THEN newest_annotator END AS annotator,
       confidence, unsure, truncated, model_version, engine, extra,
       job_id, row_number, labeled_at,
       CASE WHEN corrected THEN newest_at END AS corrected_at
FROM decided
"""

_KNOWN_LABEL = {
    "sqlite": (
        "(r.newest_label IS NOT NULL"
        " AND EXISTS (SELECT 1 FROM json_each(v.labels) WHERE value = r.newest_label))"
    ),
    "postgresql": "(r.newest_label IS NOT NULL AND jsonb_exists(v.labels, r.newest_label))",
}


def current_labels(dialect: str) -> str:
    """Return the statement that made the view on `dialect` (sqlite or postgresql) at first."""
    return _view(dialect, "CREATE", _NEWEST)


def current_labels_without_withdrawn(dialect: str) -> Sequence[str]:
    """Return the statements by which the view leaves out corrections that were withdrawn."""
    if dialect == "postgresql":
        # In place: somebody's own views may be made of it.
        return [_view(dialect, "CREATE OR REPLACE", _NEWEST_THAT_COUNTS)]
    return ["DROP VIEW current_labels", _view(dialect, "CREATE", _NEWEST_THAT_COUNTS)]


def _view(dialect: str, create: str, newest_corrections: str) -> str:
    return _CURRENT_LABELS.format(
        create=create,
        newest_corrections=newest_corrections.strip(),
        known_label=_KNOWN_LABEL[dialect],
    )
