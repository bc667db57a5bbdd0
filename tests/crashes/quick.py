"""``gemini-batch`` in a process of its own, in which a minute takes 60 ms: ``python quick.py run FILE …``."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from gemini_batch import async_base
from gemini_batch import start as launch
from gemini_batch.session import Session
from gemini_batch.world import World

PACE = 1000.0


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / PACE)


def hurry(began: float) -> None:
    """Let every command of this process begin at a time, and let time pass quickly from now on."""
    start = time.time()

    def now() -> float:
        return began + (time.time() - start) * PACE

    vars(async_base)["Session"] = partial(Session, world=World(now=now, monotonic=now, sleep=_sleep))


if __name__ == "__main__":
    hurry(time.time())
    launch.main()
