#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["pyarrow"]
# ///
"""From a Parquet file to requests, and from their results to a Parquet or CSV file: streamed, never all in memory.

    python parquet.py requests reviews.parquet requests.jsonl
    gemini-batch run requests.jsonl -o results.jsonl
    python parquet.py join reviews.parquet results.jsonl answers.parquet

To adapt it, change the two columns, the prompt and the fields of the answer. Needs pyarrow.
"""

import json
import os
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ID, TEXT = "id", "review"
PROMPT = "Classify this product review and sum it up in at most ten words.\n\n"
FIELDS = {"sentiment": {"type": "STRING", "enum": ["positive", "mixed", "negative"]}, "summary": {"type": "STRING"}}
CONFIG = {
    "responseMimeType": "application/json",
    "responseSchema": {"type": "OBJECT", "properties": FIELDS, "required": list(FIELDS)},
}


def write_requests(table, requests):
    """Write one request per row. The id of the row is the key of its request. Rows without a text are skipped."""
    source = pa.parquet.ParquetFile(table)
    with open(requests, "w", encoding="utf-8") as file:
        for batch in source.iter_batches(columns=[ID, TEXT]):
            for row in batch.to_pylist():
                if row[TEXT]:
                    request = {"contents": [{"parts": [{"text": PROMPT + row[TEXT]}]}], "generationConfig": CONFIG}
                    file.write(json.dumps({"key": str(row[ID]), "request": request}, ensure_ascii=False) + "\n")


def join(table, results, output):
    """Write every row of the table with its answer. Results come in the order of the requests, and so of the rows:
    reading one result ahead is enough to join by key."""
    source = pa.parquet.ParquetFile(table)
    schema = source.schema_arrow
    for name in (*FIELDS, "verdict", "error"):
        schema = schema.append(pa.field(name, pa.string()))
    writer = pa.csv.CSVWriter if output.endswith(".csv") else pa.parquet.ParquetWriter
    with open(results, encoding="utf-8") as file, writer(output + ".part", schema) as out:
        answers = map(json.loads, file)
        answer = next(answers, None)
        for batch in source.iter_batches():
            rows = batch.to_pylist()
            for row in rows:
                row |= dict.fromkeys(schema.names[-4:])  # null if no request was sent
                if answer is not None and answer["key"] == str(row[ID]):
                    row["verdict"] = answer["verdict"]
                    if "error" in answer:  # even if there is a partial answer
                        row["error"] = answer["error"]["message"]
                    else:
                        found = json.loads(answer["response"]["text"])
                        row |= {name: found.get(name) for name in FIELDS}
                    answer = next(answers, None)
            out.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    if answer is not None:
        os.remove(output + ".part")
        sys.exit(f"{results} has an answer for {answer['key']!r}, which is not next in {table}: do they match?")
    os.replace(output + ".part", output)


if __name__ == "__main__":
    steps = {("requests", 2): write_requests, ("join", 3): join}
    command, files = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if (command, len(files)) not in steps:
        sys.exit(__doc__)
    steps[command, len(files)](*files)
