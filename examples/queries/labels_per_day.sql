-- Labels per day and model version, over all jobs; days are those of UTC.
SELECT CAST(date(labeled_at) AS VARCHAR(10)) AS day,
       model,
       model_version,
       label,
       count(*) AS texts
FROM labeled_texts
GROUP BY date(labeled_at), model, model_version, label
ORDER BY day, model, model_version, label;
