"""A member of an embedded run in a process of its own; leaves when its standard input ends."""

import json
import sys
from pathlib import Path

from db.errors import LabelstreamError
from db.settings import Settings
from worker.embedded import Embedded


def main(home: str, *worker_command: str) -> None:
    try:
        member = Embedded.join(Settings(home_dir=Path(home)), worker_command=worker_command)
    except LabelstreamError as error:
        _say(error=str(error))
        return
    with member:
        _say(broker_url=member.broker_url)
        sys.stdin.read()


def _say(**what: str) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
