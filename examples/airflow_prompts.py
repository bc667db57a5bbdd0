"""Prompts of a Dag as one Gemini batch: Airflow's own operator, with gemini-batch[airflow] in the worker and triggerer.

The connection `gemini` is of the type `pydanticai`; its password is the API key. Nothing else names gemini-batch.
"""

import os
from datetime import timedelta

from airflow.sdk import dag, task
from pydantic import BaseModel

FOLDER = os.environ.get("REVIEWS", "/srv/reviews")


class Review(BaseModel):
    """What is to be known of a review."""

    positive: bool
    topics: list[str]


@dag(schedule="@daily", catchup=False)
def nightly_prompts():
    @task.llm_batch(
        llm_conn_id="gemini",
        model_id="google:gemini-3-flash-preview",
        result_path=f"file://{FOLDER}",
        output_type=Review,
        max_tokens=8192,  # thinking counts; Airflow's own default is 1024
        deferrable=True,  # the triggerer polls, and no worker waits
        timeout=3 * 86400,  # a job may take 24 hours, and expires after 48
        cancel_on_timeout=False,
        cancel_on_kill=False,  # the job goes on; the next attempt finds it
        retries=5,
        retry_delay=timedelta(minutes=10),
    )
    def classify():
        with open(f"{FOLDER}/reviews.txt", encoding="utf-8") as reviews:
            return [f"Classify this review: {line.strip()}" for line in reviews if line.strip()]

    @task
    def judge(manifest):
        """Red if some prompts have no good answer; those that have one are in the file all the same."""
        if manifest["terminal_reason"] != "succeeded":
            raise ValueError(f"{manifest['counts']} in {manifest['result_uri']}")

    judge(classify())


nightly_prompts()
