"""``gemini-batch`` in a process of its own, in which a minute takes 60 ms: ``python quick.py run FILE …``."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from gemini_batch import async_base, start
from gemini_batch.session import Session
from gemini_batch.world import World

PACE = 1000.0
_BEGAN = time.time()


def _now() -> float:
    return _BEGAN + (time.time() - _BEGAN) * PACE


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / PACE)


if __name__ == "__main__":
    vars(async_base)["Session"] = partial(Session, world=World(now=_now, monotonic=_now, sleep=_sleep))
    start.main()
