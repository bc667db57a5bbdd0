#!/usr/bin/env python3
"""Rows shaped by Daft: scale_daft.py 'rows/*.parquet' FOLDER [ray]. Needs gemini-batch[daft]; for a cluster, also ray,
and a FOLDER that all of its machines share."""

import sys

import daft

import gemini_batch
from gemini_batch.daft import join, request_shards

source, folder = sys.argv[1:3]
if sys.argv[3:] == ["ray"]:
    daft.set_runner_ray()
asked = {
    "prompt": "What does this review say? {{ whole }}",
    "schema": {"type": "object", "properties": {"sentiment": {"type": "string"}, "stars": {"type": "integer"}}},
    "key": "id",
}
reviews = daft.read_parquet(source).with_column("whole", daft.col("title") + ": " + daft.col("review"))
manifest = request_shards(reviews, f"{folder}/shards", **asked)
print(gemini_batch.run_shards(manifest, output=f"{folder}/answers").verdicts)
join(reviews, f"{folder}/answers", shards=manifest, **asked).write_parquet(f"{folder}/table")
