-- The label mix of one job.
SELECT label,
       count(*) AS texts,
       round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent,
       round(CAST(avg(confidence) AS NUMERIC), 3) AS mean_confidence
FROM labeled_texts
WHERE job_id = :job
GROUP BY label
ORDER BY texts DESC, label;
