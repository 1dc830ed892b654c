"""Send texts to Labelstream's workers by plain Celery; nothing of Labelstream is imported.

    LABELSTREAM_BROKER_URL=redis://… python examples/send_texts.py "what a day" "so annoyed"

The labels appear in `labeled_texts`, with the ids that are printed. A task that is sent again with
the same `task_id` changes nothing.
"""

import os
import sys
import uuid

from celery import Celery

app = Celery(broker=os.environ["LABELSTREAM_BROKER_URL"])

rows = [{"text": text, "id": str(uuid.uuid4())} for text in sys.argv[1:]]
app.send_task(
    "labelstream.label_texts",
    args=[{"v": 1, "rows": rows, "id_scope": "examples"}],
    queue="labelstream",
    task_id=str(uuid.uuid4()),
    ignore_result=True,
    # What this client's own task events show of the arguments: not the texts.
    argsrepr=f"({len(rows)} texts)",
)
for row in rows:
    print(row["id"])
