"""Each night's answers with Prefect: a flow that is called every ten minutes, and never waits longer than two minutes.

The first call begins the run of a day's file, later ones continue it, whatever stopped them. Needs gemini-batch,
GEMINI_API_KEY, and GEMINI_BATCH_HOME on a disk that outlives the process.
"""

import os
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.states import Completed, Failed

from gemini_batch import AsyncGeminiBatch, Error, NotFinished, ServiceError, StateError

FOLDER = Path(os.environ.get("REVIEWS", "/srv/reviews"))
WAIT = 120  # seconds; checking the file must not take longer


async def may_pass(_, __, state):
    """Only trouble of this machine or of the service (3, 4) is worth another attempt."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, StateError | ServiceError)


@task(retries=3, retry_delay_seconds=60, retry_condition_fn=may_pass)  # each attempt continues the same run
async def answers(day):
    """The number of rows by verdict; None as long as the service works."""
    file, output = FOLDER / f"requests-{day}.jsonl", FOLDER / f"results-{day}.jsonl"
    async with AsyncGeminiBatch() as batch:
        try:
            return (await batch.run(file, name=f"reviews-{day}", output=output, timeout=WAIT)).summary.verdicts
        except NotFinished as error:
            if error.reason_code != "timeout" or not error.job:
                raise  # it waits for a decision of yours, or WAIT is too short
            get_run_logger().info(str(error))
            return None


@flow
async def nightly_reviews():
    """Every day whose file is there and that is not done, the oldest first. One that cannot go on stops no other."""
    counts, errors = {}, {}
    for file in sorted(FOLDER.glob("requests-*.jsonl")):
        done, day = file.with_suffix(".done"), file.stem.removeprefix("requests-")
        if not done.exists():
            try:
                counts[day] = await answers(day)
                if counts[day] is not None:
                    done.touch()
            except Error as error:
                errors[day] = str(error)
    if None in counts.values() and not errors:
        return Completed(name="NotYet", message=f"the next call continues: {counts}")  # exit code 6
    if errors or any(set(verdicts) != {"succeeded"} for verdicts in counts.values()):
        return Failed(message=f"not every row succeeded: {counts}; what failed as a whole: {errors}")
    return Completed(message=str(counts))


if __name__ == "__main__":
    nightly_reviews.serve(cron="*/10 * * * *", limit=1)
