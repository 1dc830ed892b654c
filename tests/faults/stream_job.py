"""A job whose source is a Redis stream: each producer has a job of its own in the ledger."""

import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import redis

from tests.cluster import wait_until
from tests.faults.counting import Judge, SourceRow
from tests.faults.deployment import Deployment
from tests.faults.jobs import Job
from tests.faults.servers import RedisServer

GROUP = "all"


class StreamJob(Job):
    """The entries of a stream, in a Redis that holds nothing else and keeps it on disk."""

    in_order = False

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        rows: Sequence[SourceRow],
        judge: Judge,
        model: str | None = None,
    ) -> None:
        super().__init__(deployment, [], judge, model)
        self.server = RedisServer(deployment.folder / name)
        self.server.start()
        deployment.at_the_end(self.server.stop)
        self._name = name
        self._client: Any = redis.Redis.from_url(self.server.url)
        deployment.at_the_end(self._client.close)
        self.add(rows)

    def add(self, rows: Sequence[SourceRow]) -> None:
        """Append entries to the stream."""
        if not rows:
            return
        step = self._client.pipeline(transaction=False)
        for row in rows:
            step.xadd(self._name, {"id": row.id, "text": row.text})
        step.execute()
        self.rows = [*self.rows, *rows]

    def start_producer(self, **settings: str) -> subprocess.Popen[str]:
        """Start `producer ingest redis://…`, which goes on until it is told to leave."""
        address = f"{self.server.url}?stream={self._name}&group={GROUP}"
        return self.deployment.cluster.start_producer(
            "ingest", address, "--wait", "--id-column", "id", *self.options(), **settings
        )

    def numbers(self) -> list[int]:
        """Return the numbers of the jobs of all producers that read the stream."""
        query = "SELECT id FROM jobs WHERE source LIKE :like ORDER BY id"
        found = self.deployment.rows(query, like=f"%?stream={self._name}&%")
        return [int(row.id) for row in found]

    def is_exhausted(self) -> bool:
        """Whether every entry was delivered to a producer."""
        groups = self._client.xinfo_groups(self._name)
        last = self._client.xinfo_stream(self._name)["last-generated-id"]
        return all(group["last-delivered-id"] == last for group in groups)

    def pending(self) -> list[str]:
        """Return the ids of the entries that were delivered and not acknowledged."""
        found = self._client.xpending_range(self._name, GROUP, "-", "+", 10_000_000)
        return [entry["message_id"].decode() for entry in found]

    def noted(self) -> set[str]:
        """Return the ids of the entries that the ledger knows to be entered."""
        return {row.entry_id for row in self.deployment.rows("SELECT entry_id FROM stream_entries")}

    def finish(self) -> None:
        """Wait until every entry is done and acknowledged; then the producer leaves at TERM."""
        patience = self.form.patience
        wait_until(lambda: not self.open_rows(), patience, "every entry is done")
        wait_until(lambda: not self.pending(), patience, "every entry is acknowledged")
        assert self.producer is not None, "a producer reads the stream"
        self.producer.send_signal(signal.SIGTERM)
        status = self.producer_ends(patience)
        assert status == 0, f"the producer left with status {status}: {self.said}"
        wait_until(self.is_over, patience, "the jobs of all producers are done")

    def is_over(self) -> bool:
        """Whether the jobs of all producers have ended."""
        query = f"SELECT count(*) FROM jobs WHERE {self.where().replace('job_id', 'id')}"
        return not self.deployment.value(f"{query} AND state = 'running'")
