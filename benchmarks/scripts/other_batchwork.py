"""A whole run by batchwork-ai: ``FILE RESULTS``; all requests are in the call itself. Prints the answers."""

import asyncio
import json
import os
import sys
from pathlib import Path

from batchwork import BatchRequest, Batchwork  # type: ignore[import-not-found]


async def main(source: Path, results: Path) -> int:
    """One job; the answers in the order of the file."""
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    async with Batchwork() as client:
        job = await client.batch(
            model="google/gemini-3-flash-preview",
            requests=[
                BatchRequest(custom_id=row["key"], prompt=row["request"]["contents"][0]["parts"][0]["text"])
                for row in rows
            ],
            base_url=os.environ["GOOGLE_GEMINI_BASE_URL"] + "/v1beta",
        )
        await job.wait(timeout=3600, poll_interval=0.5)
        found = {one.custom_id: one.text for one in await job.collect()}
    with results.open("w") as out:
        for row in rows:
            out.write(json.dumps({"key": row["key"], "text": found[row["key"]]}) + "\n")
    return len(found)


print(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
