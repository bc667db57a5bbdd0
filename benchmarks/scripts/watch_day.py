"""Watch jobs for an emulated day: ``watch_day.py FILE JOBS``; prints what the network counted before and after.

It is a run of one request a job. The day begins when all jobs are alive; from then on, pauses take no time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from gemini_batch import NotFinished
from gemini_batch.commands.run import run
from gemini_batch.events import Event, RunProgress
from gemini_batch.intake.submission import Submission
from gemini_batch.session import Session
from gemini_batch.settings import load_settings
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.world import World

DAY = 86_400.0
_START = 1_790_000_000.0
_TICK = 0.0005


class _Time:
    """A clock that goes as usual until it is ``quick``; then it jumps to the end of the shortest wait, once two wait.

    The limit of the whole day is one of them, so time never jumps while a call is under way.
    """

    def __init__(self) -> None:
        self.quick, self._jumped = False, 0.0
        self._waits: list[tuple[float, int]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic() + self._jumped

    async def sleep(self, seconds: float) -> None:
        """Wait until that many seconds have passed here."""
        me = (self.now() + seconds, next(self._numbers))
        self._waits.append(me)
        try:
            while (left := me[0] - self.now()) > 0:
                if self.quick and len(self._waits) > 1 and min(self._waits) == me:
                    self._jumped += left
                else:
                    await asyncio.sleep(min(left, _TICK))
        finally:
            self._waits.remove(me)


def counted() -> dict[str, object]:
    """What has passed the network so far."""
    with urllib.request.urlopen(f"{os.environ['GOOGLE_GEMINI_BASE_URL']}/wire") as reply:
        found: dict[str, object] = json.load(reply)
    return found


async def main(file: str, jobs: int) -> dict[str, object]:
    """Start the jobs, watch them for a day, and stop."""
    clock = _Time()
    begun: dict[str, Any] = {}

    def seen(event: Event) -> None:
        if isinstance(event, RunProgress) and event.alive == jobs and not begun:
            begun.update(counted(), at=clock.now())
            clock.quick = True

    world = World(now=lambda: _START + clock.now(), monotonic=clock.now, sleep=clock.sleep)
    async with Session(load_settings(), world=world, emit=seen) as session:
        try:
            await run(
                session,
                Submission(source=Path(file)),
                RunOptions(max_requests_per_job=1),
                output=None,
                timeout=DAY,
            )
        except NotFinished:
            return {"begun": begun, "ended": counted(), "seconds": clock.now() - begun["at"]}
    raise RuntimeError("The jobs ended within the day.")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
