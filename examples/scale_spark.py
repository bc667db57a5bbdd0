#!/usr/bin/env python3
"""Rows shaped by Spark: scale_spark.py ROWS FOLDER, where ROWS is a folder of Parquet files, and FOLDER one that all
machines share. Needs gemini-batch[tables], pyspark, pandas and pyarrow."""

import sys
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

import gemini_batch

source, folder = sys.argv[1], Path(sys.argv[2]).absolute()
asked = {"prompt": "Is this review friendly? {{ review }}", "key": "id"}
LINE = "uri string, requests long, bytes long, sha256 string, method string, skipped long, longest long, sum string"


def shards(batches):
    for line in gemini_batch.shards_of(batches, folder / "shards", **asked):
        yield pa.RecordBatch.from_pylist([line])


spark = SparkSession.builder.getOrCreate()
reviews = spark.read.parquet(source)
lines = [row.asDict() for row in reviews.mapInArrow(shards, LINE).collect()]
manifest = gemini_batch.write_manifest(lines, folder / "shards")
print(gemini_batch.run_shards(manifest, output=folder / "answers").verdicts)
answers = spark.read.parquet(*gemini_batch.answer_files(manifest, folder / "answers"))
reviews.join(answers, reviews.id == answers.key, "left").drop("key").write.parquet(f"{folder}/table")
