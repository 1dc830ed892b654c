"""A `producer` whose standard input is in a test's hands."""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tests.cluster import BIN, Cluster, clean_environment, wait_until


class Streaming:
    """A `producer` command that runs; it is stopped with its cluster at the latest."""

    def __init__(
        self, cluster: Cluster, *arguments: str | Path, stdin: IO[Any] | int = subprocess.PIPE
    ) -> None:
        self._cluster = cluster
        self._errors = cluster.folder / f"producer-{len(cluster.processes)}.err"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [BIN / "producer", *map(str, arguments)],
                env=clean_environment(**cluster.settings),
                cwd=cluster.folder,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        cluster.processes.append(self.process)

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def close(self) -> None:
        """End its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def said(self) -> str:
        """What it wrote on stderr by now."""
        return self._errors.read_text()

    def wait_until_said(self, words: str) -> None:
        def is_said() -> bool:
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        wait_until(is_said, 90, words)

    def wait_for_rows(self, rows: int, table: str = "labeled_texts") -> int:
        """Wait until its job has so many rows in a table; return the job."""

        def there() -> bool:
            assert self.process.poll() is None, self.said
            job = self.job()
            query = f"SELECT count(*) FROM {table} WHERE job_id = :job"
            return job is not None and self._cluster.value(query, job=job) >= rows

        wait_until(there, 90, f"{rows} rows in {table}, {self.said}")
        job = self.job()
        assert job is not None
        return job

    def job(self) -> int | None:
        """Its job, as it says on stderr."""
        words = self.said.replace(":", " ").split()
        return next((int(word) for at, word in enumerate(words) if words[at - 1] == "job"), None)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)

    def end(self, how: signal.Signals | None = None) -> int:
        """Signal it, if asked for, and return its exit status."""
        if how is not None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=120)
        if self.process.stdin is not None:
            self.process.stdin.close()
        return status

    def result(self) -> Mapping[str, Any]:
        """What it printed with `--json`."""
        assert self.process.stdout is not None
        found: Mapping[str, Any] = json.loads(self.process.stdout.read())
        return found
