"""Upload files with the official SDK, one after the other: ``sdk_upload.py FILE …``; prints how many."""

import sys

from google import genai  # noqa: TID253 - what a program over the SDK takes is the question

with genai.Client() as client:
    files = [client.files.upload(file=path, config={"mime_type": "application/jsonl"}) for path in sys.argv[1:]]
    print(len(files))
