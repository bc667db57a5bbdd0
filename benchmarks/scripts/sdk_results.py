"""Write the result file of an ended job with the official SDK: sdk_results.py JOB FILE."""

import sys
from pathlib import Path

from google import genai  # noqa: TID253 - what importing it costs is the question

with genai.Client() as client:
    job = client.batches.get(name=sys.argv[1])
    assert job.dest
    Path(sys.argv[2]).write_bytes(client.files.download(file=job.dest.file_name or ""))
