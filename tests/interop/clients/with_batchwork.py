"""batchwork: three prompts, then three embeddings, by its own HTTP client (inline)."""

import asyncio
import json
import os
import sys

from batchwork import BatchEmbeddingRequest, BatchRequest, Batchwork  # type: ignore[import-not-found]


async def main() -> None:
    rows = json.load(sys.stdin)
    base = os.environ["GOOGLE_GEMINI_BASE_URL"] + "/v1beta"
    async with Batchwork() as client:
        job = await client.batch(
            model="google/gemini-3.8-flash",
            requests=[BatchRequest(custom_id=row["key"], prompt=row["text"]) for row in rows],
            base_url=base,
        )
        await job.wait(timeout=60, poll_interval=0.5)
        answers = {one.custom_id: one.text for one in await job.collect()}
        job = await client.batch_embeddings(
            model="google/gemini-embedding-001",
            requests=[BatchEmbeddingRequest(custom_id=row["key"], value=row["text"]) for row in rows],
            base_url=base,
        )
        await job.wait(timeout=60, poll_interval=0.5)
        sizes = {len(one.embedding or ()) for one in await job.collect()}
    assert sizes == {3072}, sizes
    json.dump(answers, sys.stdout)


asyncio.run(main())
