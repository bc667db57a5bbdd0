#!/usr/bin/env python3
"""Rows shaped by Ray Data: scale_ray.py ROWS FOLDER, where ROWS is a folder of Parquet files, and FOLDER one that all
machines share. Needs gemini-batch[tables] and ray[data]."""

import sys
from pathlib import Path

import pyarrow as pa
import ray.data

import gemini_batch

source, folder = sys.argv[1], Path(sys.argv[2]).absolute()
asked = {"prompt": "Is this review friendly? {{ review }}", "key": "id"}


def shards(batch: pa.Table) -> pa.Table:
    return pa.Table.from_pylist(list(gemini_batch.shards_of([batch], folder / "shards", **asked)))


reviews = ray.data.read_parquet(source)
lines = reviews.map_batches(shards, batch_format="pyarrow", batch_size=50_000).take_all()
manifest = gemini_batch.write_manifest(lines, folder / "shards")
print(gemini_batch.run_shards(manifest, output=folder / "answers").verdicts)
answers = ray.data.read_parquet(gemini_batch.answer_files(manifest, folder / "answers"))
reviews.join(answers, "left_outer", 8, on=("id",), right_on=("key",)).write_parquet(str(folder / "table"))
