"""PostgreSQL that goes and comes back."""

import time

from tests.faults.fault import Fault
from tests.faults.jobs import Job
from tests.faults.servers import PostgresServer


class _PostgresFault(Fault):
    """PostgreSQL ends and another process takes its place."""

    databases = ("postgresql",)
    #: What the server says of it in its log.
    says: str

    def end(self, server: PostgresServer) -> None:
        """End the PostgreSQL that runs."""
        raise NotImplementedError

    def strike(self, job: Job) -> None:
        server = job.deployment.postgres
        assert server is not None
        job.require_an_open_third()
        self.before = server.pid
        self.said = server.log.read_text().count(self.says)
        # There is no ledger to be asked afterwards.
        job.struck()
        self.end(server)
        time.sleep(job.form.away)
        server.start()

    def bit(self, job: Job) -> str:
        server = job.deployment.postgres
        assert server is not None
        assert server.pid != self.before, "the same PostgreSQL serves"
        said = server.log.read_text().count(self.says) - self.said
        assert said > 0, f"the server never said: {self.says}"
        return f"PostgreSQL {self.before} is {server.pid} now; {said} x '{self.says}'"


class PostgresRestarted(_PostgresFault):
    """PostgreSQL is shut down "fast", which breaks every connection, and started."""

    name = "postgres-restarted"
    says = "terminating connection due to administrator command"

    def end(self, server: PostgresServer) -> None:
        server.stop()


class PostgresKilled(_PostgresFault):
    """PostgreSQL ends with -9 and is started."""

    name = "postgres-killed"
    says = "was not properly shut down"

    def end(self, server: PostgresServer) -> None:
        server.kill()
