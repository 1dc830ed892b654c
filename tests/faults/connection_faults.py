"""Connections that break, and cannot be made again for a while, though both ends live."""

import time

from tests.faults.fault import Fault
from tests.faults.jobs import Job
from tests.proxy import TcpProxy


class _Cut(Fault):
    """Every process loses its connections at once."""

    proxied = True

    def proxy(self, job: Job) -> TcpProxy | None:
        """Return what stands in the way that is cut."""
        raise NotImplementedError

    def strike(self, job: Job) -> None:
        proxy = self.proxy(job)
        assert proxy is not None
        job.require_an_open_third()
        proxy.cut()
        job.struck()
        try:
            # What a worker held at the cut it may still be computing for a while.
            time.sleep(job.form.cut / 2)
            self.middle = job.claims()
            time.sleep(job.form.cut / 2)
            self.end = job.claims()
        finally:
            self.tried = proxy.accepted
            proxy.restore()

    def bit(self, job: Job) -> str:
        assert self.end == self.middle, "chunks were claimed though nobody had a connection"
        made = self.tries(job) - self.tried
        assert made > 0, "nobody made a connection anew"
        claimed = job.claims() - self.end
        assert claimed > 0, "nothing was claimed after the cut"
        return f"no claim while it was cut; {made} connections made anew, {claimed} claims"

    def tries(self, job: Job) -> int:
        """Return how many connections were made so far."""
        proxy = self.proxy(job)
        assert proxy is not None
        return proxy.accepted


class RedisCut(_Cut):
    """No way to Redis."""

    name = "redis-cut"

    def proxy(self, job: Job) -> TcpProxy | None:
        return job.deployment.redis_proxy


class DatabaseCut(_Cut):
    """No way to the database; SQLite has no connection that could be cut."""

    name = "database-cut"
    databases = ("postgresql",)

    def proxy(self, job: Job) -> TcpProxy | None:
        return job.deployment.postgres_proxy
