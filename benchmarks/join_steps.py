"""The steps behind ``python -m benchmarks join``, each in a process of its own; each prints the number of rows.

``make`` writes a table with ten columns and an answer for each row. ``ours`` and ``pyarrow`` join them, to a Parquet or
CSV file. The answers are result lines; both read them with the JSON reader that they have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.tables.outputs.cells import Filler
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.outputs.write import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.tables.outputs.cells import Cells

SCHEMA = {
    "type": "object",
    "properties": {
        "sentiment": {"type": "string"},
        "summary": {"type": "string"},
        "score": {"type": "number"},
        "topics": {"type": "array", "items": {"type": "string"}},
    },
}
_TABLE = """
    SELECT range AS id, 'Review ' || range || ': it is light, it lasts, and it says "quite good".' AS review,
        range % 5 AS stars, range * 1.5 AS price, range % 2 = 0 AS verified,
        DATE '2026-01-01' + (range % 300)::INTEGER AS day, TIMESTAMP '2026-01-01' + to_seconds(range) AS written,
        'shop-' || range % 17 AS shop, 'sku-' || range AS sku, (range / 3)::DECIMAL(18, 2) AS discount
    FROM range({rows})
"""


class _Response(msgspec.Struct):
    text: str


class _Line(msgspec.Struct):
    verdict: str
    response: _Response


def make(table: Path, answers: Path, rows: int) -> int:
    """Write the table and the result lines."""
    import duckdb

    with duckdb.connect() as db:
        db.execute(f"COPY ({_TABLE.format(rows=rows)}) TO '{table}' (FORMAT parquet, COMPRESSION zstd)")
    with answers.open("w") as file:
        for number in range(rows):
            answer = {
                "sentiment": "positive",
                "summary": f"A good thing, number {number}.",
                "score": number / 7,
                "topics": ["battery", "weight"],
            }
            response = {"text": json.dumps(answer)}
            line = {"key": str(number), "verdict": "succeeded", "response": response, "attempt": 1}
            file.write(json.dumps(line) + "\n")
    return rows


def ours(table: Path, answers: Path, output: Path) -> int:
    """The join of this package."""
    columns = answer_columns(SCHEMA, method="generate")
    fill, decode = Filler(columns), msgspec.json.Decoder(_Line).decode

    def cells() -> Iterator[Cells]:
        with answers.open("rb") as lines:
            for line in lines:
                read = decode(line)
                yield fill({"verdict": read.verdict}, read.response.text)

    return write_table(table, cells(), columns, output)


def pyarrow(table: Path, answers: Path, output: Path) -> int:
    """A loop over batches of rows, as a program with pyarrow does it."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    source = pq.ParquetFile(table)
    text, names = pa.string(), ("sentiment", "summary", "score", "topics", "verdict", "problem")
    kinds = (text, text, pa.float64(), pa.list_(text), text, text)
    if output.suffix == ".csv":  # it has no lists
        kinds = (*kinds[:3], *(text,) * 3)
    schema = source.schema_arrow
    for name, kind in zip(names, kinds, strict=True):
        schema = schema.append(pa.field(name, kind))
    writer: Any = pa.csv.CSVWriter(output, schema) if output.suffix == ".csv" else pq.ParquetWriter(
        output, schema, compression="zstd"
    )  # fmt: skip
    count = 0
    with answers.open() as lines, writer:
        for batch in source.iter_batches():
            rows = batch.to_pylist()
            for row in rows:
                line = json.loads(lines.readline())
                found = json.loads(line["response"]["text"])
                if output.suffix == ".csv":
                    found["topics"] = json.dumps(found["topics"])
                row.update(found, verdict=line["verdict"], problem=None)
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


if __name__ == "__main__":
    step, first, second, third = sys.argv[1:]
    if step == "make":
        print(make(Path(first), Path(second), int(third)))
    else:
        print({"ours": ours, "pyarrow": pyarrow}[step](Path(first), Path(second), Path(third)))
