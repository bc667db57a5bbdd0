"""What comes in from outside: time, waiting, chance and new ids. Tests bring a world of their own."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"


def _token(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The sources of everything that is not decided here.

    ``now``: seconds since 1970, for what is written down; someone may set that clock. ``monotonic``: seconds since some
    moment, for pauses and patience within this process; it never goes back. ``sleep``: waits that many seconds.
    ``uniform``: a number between two others. ``token``: so many typeable characters, never used before.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    token: Callable[[int], str] = _token
