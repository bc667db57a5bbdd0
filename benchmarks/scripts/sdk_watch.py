"""Ask for each job once with the official SDK, so many times: ``sdk_watch.py ROUNDS JOB …``; prints the calls."""

import sys

from google import genai  # noqa: TID253 - what a program over the SDK takes is the question

with genai.Client() as client:
    states = [client.batches.get(name=job).state for _ in range(int(sys.argv[1])) for job in sys.argv[2:]]
    print(len(states))
