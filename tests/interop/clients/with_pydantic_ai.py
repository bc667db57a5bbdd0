"""pydantic_ai: three runs of an agent with a structured answer, its model calls joined into one batch (file)."""

import asyncio
import json
import sys
from datetime import timedelta

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput  # type: ignore[import-not-found]
from pydantic_ai.capabilities import BatchModelRequests  # type: ignore[import-not-found]


class Note(BaseModel):
    """What the model is to write."""

    title: str
    stars: int


async def main() -> None:
    rows = json.load(sys.stdin)
    batching = BatchModelRequests(
        max_requests=len(rows), max_wait=timedelta(seconds=20), poll_interval=timedelta(seconds=0.5)
    )
    agent = Agent("google:gemini-3.8-flash", output_type=NativeOutput(Note), capabilities=[batching])
    async with batching:
        results = await asyncio.gather(*(agent.run(row["text"]) for row in rows))
    answers = [f"{result.output.title} {result.output.stars}" for result in results]
    json.dump({row["key"]: answer for row, answer in zip(rows, answers, strict=True)}, sys.stdout)


asyncio.run(main())
