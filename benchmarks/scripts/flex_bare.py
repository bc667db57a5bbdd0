"""What one would write instead of ``run --via flex``: a loop over calls that keeps nothing. ``FILE URL AT_ONCE``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx2

MODEL = "gemini-3-flash-preview"


async def main(file: str, url: str, at_once: int) -> int:
    """Send each request as a call of its own; returns how many were answered."""
    gate, answered = asyncio.Semaphore(at_once), 0
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx2.AsyncClient(limits=limits, timeout=900.0, headers={"x-goog-api-key": "bare"}) as client:

        async def call(line: str) -> None:
            nonlocal answered
            async with gate:
                body = {**json.loads(line)["request"], "serviceTier": "flex"}
                reply = await client.post(f"{url}/v1beta/models/{MODEL}:generateContent", json=body)
                answered += reply.status_code == 200 and bool(reply.json()["candidates"])

        await asyncio.gather(*(call(line) for line in Path(file).read_text("utf-8").splitlines()))
    return answered


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
