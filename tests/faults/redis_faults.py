"""Redis that goes and comes back, with what it had or empty."""

import json
import time
from collections.abc import Mapping

import redis

from db.defaults import QUEUE
from tests.cluster import wait_until
from tests.faults.fault import Fault
from tests.faults.jobs import Job, Tenure

#: Messages that wait in Redis before it forgets them.
MESSAGES = 3


class _RedisFault(Fault):
    """Redis ends and another process takes its place."""

    def end(self, job: Job) -> None:
        """End the Redis that runs."""
        raise NotImplementedError

    def strike(self, job: Job) -> None:
        server = job.deployment.redis
        job.require_an_open_third()
        self.before = server.pid
        self.end(job)
        job.struck()
        time.sleep(job.form.away)
        server.start()
        self.claims = job.claims()

    def bit(self, job: Job) -> str:
        now = job.deployment.redis.pid
        assert now != self.before, "the same Redis serves"
        claimed = job.claims() - self.claims
        assert claimed > 0, "no worker got a message from the new Redis"
        return f"Redis {self.before} is {now} now; {claimed} claims by its messages"


class RedisRestarted(_RedisFault):
    """Redis is stopped in order and started."""

    name = "redis-restarted"

    def end(self, job: Job) -> None:
        job.deployment.redis.stop()


class RedisKilled(_RedisFault):
    """Redis ends with -9 and is started."""

    name = "redis-killed"

    def end(self, job: Job) -> None:
        job.deployment.redis.kill()


class RedisEmptied(Fault):
    """FLUSHALL in mid-job: every message that waits is gone."""

    name = "redis-emptied"

    def strike(self, job: Job) -> None:
        job.require_an_open_third()
        with redis.Redis.from_url(job.deployment.redis.url) as client:
            wait_until_some_wait(job, client)
            step = client.pipeline(transaction=True)
            step.lrange(QUEUE, 0, -1)
            step.flushall()
            waited = step.execute()[0]
        job.struck()
        self.lost = still_queued(job, waited)

    def bit(self, job: Job) -> str:
        return sent_again(job, self.lost)


class RedisRestartedEmpty(_RedisFault):
    """A Redis that keeps nothing on disk is restarted: every message that waited is gone."""

    name = "redis-restarted-empty"

    def end(self, job: Job) -> None:
        server = job.deployment.redis
        server.keep(persistent=False)
        with redis.Redis.from_url(server.url) as client:
            wait_until_some_wait(job, client)
            waited = client.lrange(QUEUE, 0, -1)
        server.stop()
        self.lost = still_queued(job, waited)

    def bit(self, job: Job) -> str:
        return f"{super().bit(job)}; {sent_again(job, self.lost)}"


def wait_until_some_wait(job: Job, client: "redis.Redis") -> None:
    """Return when more chunks are sent than the workers hold."""
    wait_until(lambda: client.llen(QUEUE) >= MESSAGES, job.form.patience, "messages wait")


def still_queued(job: Job, messages: list[bytes]) -> dict[int, Tenure]:
    """Return the chunks of the job that nobody holds, and of which these messages are gone."""
    told = [json.loads(message)["headers"]["argsrepr"] for message in messages]
    head = f"(job {job.number} chunk "
    named = {int(one.removeprefix(head).rstrip(")")) for one in told if one.startswith(head)}
    lost = {number: how for number, how in job.queued().items() if number in named}
    assert lost, "no message waited"
    return lost


def sent_again(job: Job, lost: Mapping[int, Tenure]) -> str:
    """Assert that chunks whose messages were lost were claimed afterwards."""
    now = job.tenures(lost)
    for number, before in lost.items():
        # Nobody claims a chunk without a message.
        assert now[number].claims > before.claims, f"chunk {number} was not sent again"
    return f"{len(lost)} messages lost, each sent again"
