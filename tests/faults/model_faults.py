"""Another version takes over in the middle of a job."""

from db.registry.aliases import promote
from tests.faults.deployment import Deployment
from tests.faults.fault import Fault
from tests.faults.jobs import Job

#: A model whose versions are told apart by their number alone.
TWINS = "twins"


class Promotion(Fault):
    """A version is promoted while both workers label with the one before it."""

    name = "promotion"
    model = TWINS
    versions = frozenset({1, 2})

    def prepare(self, deployment: Deployment) -> None:
        deployment.add_twins(TWINS)

    def strike(self, job: Job) -> None:
        job.require_an_open_third()
        promote(job.deployment.cluster.store, TWINS, 2, who="test", why="a promotion in mid-job")
        job.struck()

    def bit(self, job: Job) -> str:
        query = (
            "SELECT model_version, count(*) AS rows FROM labeled_texts WHERE job_id = :job"
            " GROUP BY model_version ORDER BY model_version"
        )
        found = {row.model_version: row.rows for row in job.deployment.rows(query, job=job.number)}
        assert set(found) == {1, 2}, f"rows by version: {found}"
        return f"{found[1]:,} rows of version 1, {found[2]:,} of version 2"
