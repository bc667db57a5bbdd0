"""Each night's answers as a Dagster asset, with counts and cost; no process waits for the service.

A sensor asks for the asset of each day until it is there. Each time, it begins or continues the same run, for at most a
minute. Needs gemini-batch, GEMINI_API_KEY, and GEMINI_BATCH_HOME on a disk that outlives the process.
"""

import os
from pathlib import Path

import dagster as dg

import gemini_batch
from gemini_batch import JobError, NotFinished, UsageError

FOLDER = Path(os.environ.get("REVIEWS", "/srv/reviews"))
WAIT = 120  # seconds; checking the file must not take longer


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01", end_offset=1),
    output_required=False,  # while the service works, there is nothing to materialize
    retry_policy=dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL),  # each continues the same run
    pool="gemini",  # with the limit 1, one run at a time
)
def reviews(context: dg.AssetExecutionContext):
    day = context.partition_key
    file, output = FOLDER / f"requests-{day}.jsonl", FOLDER / f"results-{day}.jsonl"
    try:
        found = gemini_batch.run(file, name=f"reviews-{day}", output=output, timeout=WAIT)
    except NotFinished as error:
        if error.reason_code != "timeout" or not error.job:  # it waits for a decision of yours, or WAIT is too short
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info(str(error))  # exit code 6: the sensor asks again
        return
    except (UsageError, JobError) as error:  # 2, 5: another attempt cannot help
        raise dg.Failure(str(error), allow_retries=False) from error
    summary, spent = found.summary, found.summary.usd
    amount = {"usd": spent.batch, "usd_left_out": len(spent.unknown)}
    yield dg.Output(None, metadata={**summary.verdicts, "requests": summary.requests, **amount, "file": str(output)})
    if not summary.all_succeeded:  # exit code 1: the results are complete and materialized, and the run is red
        raise dg.Failure(f"not every row succeeded: {summary.verdicts}", allow_retries=False)


@dg.sensor(target=[reviews], minimum_interval_seconds=600, default_status=dg.DefaultSensorStatus.RUNNING)
def unfinished_days(context: dg.SensorEvaluationContext):
    done = context.instance.get_materialized_partitions(reviews.key)
    for file in sorted(FOLDER.glob("requests-*.jsonl")):
        day = file.stem.removeprefix("requests-")
        if day not in done:
            yield dg.RunRequest(partition_key=day)


defs = dg.Definitions(assets=[reviews], sensors=[unfinished_days])
