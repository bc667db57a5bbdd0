"""Print the state of a job with the official SDK: sdk_status.py JOB."""

import sys

from google import genai  # noqa: TID253 - what importing it costs is the question

with genai.Client() as client:
    job = client.batches.get(name=sys.argv[1])
    print(job.state.name if job.state else "")
