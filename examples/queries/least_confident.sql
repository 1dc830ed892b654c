-- The rows of one job that the model is least sure of, worth reading first.
SELECT row_number, external_id, label, confidence, text
FROM labeled_texts
WHERE job_id = :job
ORDER BY confidence, row_number
LIMIT 20;
