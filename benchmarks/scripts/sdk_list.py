"""Print the name and the state of every job with the official SDK."""

from google import genai  # noqa: TID253 - what importing it costs is the question

with genai.Client() as client:
    for job in client.batches.list(config={"page_size": 100}):
        print(job.name, job.state.name if job.state else "")
