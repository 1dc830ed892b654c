"""Two DAGs for Airflow 2 and 3: label each day's texts and export them; retrain through the gate.

Copy this file and nightly_commands.py to the folder of the DAGs. Each day has a `--job-key` of its
own, so a retry, a cleared task or a backfill labels no row twice. A backfill of thirty days is no
reason to train thirty times: hence the second DAG, which does not catch up.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import nightly_commands as nightly
from airflow.timetables.interval import CronDataIntervalTimetable

try:
    from airflow.sdk import dag, task
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.exceptions import AirflowException, AirflowFailException

#: Status 2: a service is away, or the day's file is not there yet. It is tried again for an hour.
PATIENCE = {"retries": 4, "retry_delay": timedelta(minutes=15)}

FIRST_DAY = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))


def daily(at: str) -> CronDataIntervalTimetable:
    """Return a schedule whose run of a day begins when the day is over, and calls it `ds`.

    A plain cron expression means that in Airflow 2, but the day of the run itself in Airflow 3.
    """
    return CronDataIntervalTimetable(at, timezone="UTC")


def result_of(command: list[str], limit: timedelta) -> dict[str, Any]:
    """Run a command and return its JSON object, for XCom: numbers, labels and names, no texts.

    Raises AirflowFailException for a job that failed, which no retry makes better, and
    AirflowException for what may be better later.
    """
    ended = nightly.run(command, limit.total_seconds())
    print(ended.log)
    if ended.status == nightly.FAILED:
        raise AirflowFailException(f"{ended.error} {ended.result or ''}".strip())
    if ended.status:
        raise AirflowException(f"status {ended.status}: {ended.error}")
    return ended.result or {}


@dag(
    dag_id="labelstream_ingest",
    schedule=daily("0 3 * * *"),
    start_date=FIRST_DAY,
    catchup=False,
    default_args=PATIENCE,
    tags=["labelstream"],
)
def labelstream_ingest() -> None:
    """Label the texts of one day, and write the labels as Parquet."""

    @task(multiple_outputs=False)
    def ingest(day: str) -> dict[str, Any]:
        return result_of(nightly.ingest(day), timedelta(hours=6))

    @task
    def export(labelled: dict[str, Any], day: str) -> None:
        result_of(nightly.export(labelled["job"], day), timedelta(hours=1))

    export(ingest("{{ ds }}"), "{{ ds }}")


@dag(
    dag_id="labelstream_retrain",
    schedule=daily("0 4 * * *"),
    start_date=FIRST_DAY,
    catchup=False,
    # Of two at once the later would be compared with a version that serves no more.
    max_active_runs=1,
    default_args=PATIENCE,
    tags=["labelstream"],
)
def labelstream_retrain() -> None:
    """Retrain on the original data and people's corrections; the result says whether it serves."""

    @task(multiple_outputs=False)
    def retrain() -> dict[str, Any]:
        return result_of(nightly.retrain(), timedelta(hours=12))

    retrain()


labelstream_ingest()
labelstream_retrain()
