"""A file of requests each night with Airflow: any size, many jobs, failed rows resent, and no worker that waits.

The sensor begins or continues the run for at most two minutes, and gives its worker back until the next poke. The
worker needs gemini-batch, GEMINI_API_KEY, and GEMINI_BATCH_HOME on a disk that outlives it.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import PokeReturnValue, dag, task
from airflow.sdk.exceptions import AirflowFailException

import gemini_batch
from gemini_batch import JobError, NotFinished, UsageError

FOLDER = Path(os.environ.get("REVIEWS", "/srv/reviews"))
WAIT = 120  # seconds for which a worker is held; checking the file must not take longer


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1)
def nightly_batch():
    @task.sensor(
        mode="reschedule",
        poke_interval=600,
        timeout=3 * 86400,  # a job may take 24 hours, and resent rows take another one
        retries=10,  # each continues the same run
        retry_delay=timedelta(minutes=10),
    )
    def answers(ds=None):
        file, output = FOLDER / f"requests-{ds}.jsonl", FOLDER / f"results-{ds}.jsonl"
        try:
            found = gemini_batch.run(file, name=f"reviews-{ds}", output=output, timeout=WAIT)
        except NotFinished as error:
            if error.reason_code == "timeout" and error.job:
                return PokeReturnValue(is_done=False)  # exit code 6: the next poke continues
            raise AirflowFailException(str(error)) from error  # it waits for a decision of yours, or WAIT is too short
        except (UsageError, JobError) as error:  # 2, 5: another attempt cannot help
            raise AirflowFailException(str(error)) from error
        return PokeReturnValue(is_done=True, xcom_value=found.summary.verdicts)

    @task
    def judge(verdicts):
        """Red if some rows did not succeed. The results are complete all the same, and name each of them."""
        if set(verdicts) != {"succeeded"}:
            raise AirflowFailException(f"not every row succeeded: {verdicts}")

    judge(answers())


nightly_batch()
