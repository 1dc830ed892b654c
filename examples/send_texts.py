"""Send texts to Labelstream's workers by plain Celery; nothing of Labelstream is imported.

    LABELSTREAM_BROKER_URL=redis://… python examples/send_texts.py "what a day" "so annoyed"

The labels appear in `labeled_texts`, with the ids that are printed. A task that is sent again with
the same `task_id` changes nothing.
"""

import os
import sys
import uuid

from celery import Celery
from kombu.exceptions import OperationalError

broker = os.environ.get("LABELSTREAM_BROKER_URL")
if not broker:
    sys.exit("send_texts: set LABELSTREAM_BROKER_URL to the Redis of the workers, redis://…")
if not sys.argv[1:]:
    sys.exit('send_texts: give the texts: python examples/send_texts.py "what a day"')

app = Celery(broker=broker)

rows = [{"text": text, "id": str(uuid.uuid4())} for text in sys.argv[1:]]
try:
    app.send_task(
        "labelstream.label_texts",
        args=[{"v": 1, "rows": rows, "id_scope": "examples"}],
        queue="labelstream",
        task_id=str(uuid.uuid4()),
        ignore_result=True,
        # What this client's own task events show of the arguments: not the texts.
        argsrepr=f"({len(rows)} texts)",
    )
except OperationalError as error:
    sys.exit(f"send_texts: nothing was sent: {error}; check LABELSTREAM_BROKER_URL")
for row in rows:
    print(row["id"])
