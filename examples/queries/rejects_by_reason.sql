-- Why rows of one job were rejected, and the first row of each reason.
SELECT reason, count(*) AS texts, min(row_number) AS first_row
FROM rejects
WHERE job_id = :job
GROUP BY reason
ORDER BY texts DESC, reason;
