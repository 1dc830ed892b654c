-- The share of angry texts by region, from a table of your own that knows the external ids:
-- here customers (tweet_id, region).
SELECT c.region,
       count(*) AS texts,
       round(100.0 * sum(CASE WHEN t.label = 'anger' THEN 1 ELSE 0 END) / count(*), 1)
           AS percent_anger
FROM labeled_texts t
JOIN customers c ON c.tweet_id = t.external_id
WHERE t.job_id = :job
GROUP BY c.region
ORDER BY percent_anger DESC, c.region;
