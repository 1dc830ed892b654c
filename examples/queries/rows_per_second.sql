-- Rows per second of each job, by the time that engines computed for it (two workers at once count
-- twice the time); jobs that labelled nothing have none.
SELECT j.id AS job,
       j.source,
       sum(c.labeled) AS texts,
       round(CAST(sum(c.busy_seconds) AS NUMERIC), 3) AS engine_seconds,
       round(CAST(sum(c.labeled) / nullif(sum(c.busy_seconds), 0) AS NUMERIC), 1)
           AS rows_per_second
FROM jobs j
JOIN chunks c ON c.job_id = j.id
WHERE NOT j.hidden
GROUP BY j.id, j.source
ORDER BY j.id;
