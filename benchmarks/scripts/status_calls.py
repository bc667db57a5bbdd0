"""Ask for a job's state so often in one process: ``status_calls.py one|each JOB CALLS``; prints the seconds.

``one``: with one client that stays open; ``each``: with a client for each call.
"""

from __future__ import annotations

import sys
import time

from gemini_batch import GeminiBatch


def main(how: str, job: str, calls: int) -> float:
    """The seconds that the calls took, without the start of the process."""
    begun = time.perf_counter()
    if how == "one":
        with GeminiBatch() as batch:
            for _ in range(calls):
                batch.status(job)
    else:
        for _ in range(calls):
            with GeminiBatch() as batch:
                batch.status(job)
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
