"""Upload a file and make a job of it with the official SDK: sdk_create.py FILE."""

import sys

from google import genai  # noqa: TID253 - what importing it costs is the question

with genai.Client() as client:
    file = client.files.upload(file=sys.argv[1], config={"mime_type": "application/jsonl"})
    job = client.batches.create(model="gemini-3-flash-preview", src=file.name or "")
    print(job.name)
