"""Look at the newest job of the embedded mode's database with nothing but SQL and Python."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

DATABASE = Path(".labelstream/labelstream.db")

LABEL_MIX = """
SELECT label, count(*) AS texts, round(avg(confidence), 2) AS mean_confidence
FROM labeled_texts
WHERE job_id = (SELECT max(id) FROM jobs WHERE NOT hidden)
GROUP BY label
ORDER BY texts DESC, label
"""

REJECTED = """
SELECT reason, count(*) AS texts
FROM rejects
WHERE job_id = (SELECT max(id) FROM jobs WHERE NOT hidden)
GROUP BY reason
ORDER BY texts DESC, reason
"""

TRY_NEXT = """SELECT label, round(confidence, 2), substr(text, 1, 60)
FROM labeled_texts ORDER BY confidence LIMIT 10;"""


def main() -> None:
    """Print the label mix, what was rejected, where the database is and a query to try next."""
    database = Path(sys.argv[1] if len(sys.argv) > 1 else DATABASE).absolute()
    if not database.is_file():
        sys.exit(f"{database}: no database; run `producer ingest examples/tweets.csv` first")
    # Read only: a look must never change what it looks at.
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        mix = connection.execute(LABEL_MIX).fetchall()
        rejected = connection.execute(REJECTED).fetchall()
    print("\nlabel mix, by SQL:")
    for label, texts, confidence in mix:
        print(f"  {label:<10} {texts:>4}  mean confidence {confidence:.2f}")
    if rejected:
        print("rejected:")
        for reason, texts in rejected:
            print(f"  {texts:>4}  {reason}")
    print(f"\ndatabase: {database}")
    print("try next, the texts that the model is least sure of:\n")
    print(TRY_NEXT)


if __name__ == "__main__":
    main()
