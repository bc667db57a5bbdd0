"""A whole run by pydantic-ai: ``FILE RESULTS``; its model calls are joined into one batch. Prints the answers."""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from pydantic_ai import Agent  # type: ignore[import-not-found]
from pydantic_ai.capabilities import BatchModelRequests  # type: ignore[import-not-found]


async def main(source: Path, results: Path) -> int:
    """Run an agent for each request."""
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    batching = BatchModelRequests(
        max_requests=len(rows), max_wait=timedelta(seconds=60), poll_interval=timedelta(seconds=0.5)
    )
    agent = Agent("google:gemini-3-flash-preview", capabilities=[batching])
    async with batching:
        found = await asyncio.gather(*(agent.run(row["request"]["contents"][0]["parts"][0]["text"]) for row in rows))
    with results.open("w") as out:
        for row, result in zip(rows, found, strict=True):
            out.write(json.dumps({"key": row["key"], "text": result.output}) + "\n")
    return len(found)


print(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
