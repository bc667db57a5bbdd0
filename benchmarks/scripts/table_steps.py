"""The steps behind ``python -m benchmarks tables``, each in a process of its own; each prints the number of rows.

``table`` and ``answers`` write a table with ten columns and an answer for each row. ``read`` reads a table with duckdb
and does nothing with it. ``make``, ``jinja2`` and ``duckdb_make`` make a request of each row. ``join``, ``pyarrow`` and
``duckdb_join`` join the answers to the table, in a Parquet or CSV file; the answers are result lines, and each reads
them with the JSON reader that it has.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.tables.making.builder import Builder
from gemini_batch.tables.making.prepare import make_requests
from gemini_batch.tables.making.recipe import Asked, make_recipe
from gemini_batch.tables.outputs.cells import Filler
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.outputs.write import write_table
from gemini_batch.tables.sources.snapshot import take_snapshot
from gemini_batch.tables.sources.source import find_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
_PROMPT = "Classify this review of {{ sku }}:\n{{ review }}"
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


def table(file: Path, rows: int) -> int:
    """Write the table."""
    import duckdb

    how = "FORMAT csv" if file.suffix == ".csv" else "FORMAT parquet, COMPRESSION zstd"
    with duckdb.connect() as db:
        db.execute(f"COPY ({_TABLE.format(rows=rows)}) TO '{file}' ({how})")
    return rows


def answers(file: Path, rows: int) -> int:
    """Write the result lines."""
    with file.open("w") as lines:
        for number in range(rows):
            answer = {
                "sentiment": "positive",
                "summary": f"A good thing, number {number}.",
                "score": number / 7,
                "topics": ["battery", "weight"],
            }
            response = {"text": json.dumps(answer)}
            line = {"key": str(number), "verdict": "succeeded", "response": response, "attempt": 1}
            lines.write(json.dumps(line) + "\n")
    return rows


def make(source: Path, output: Path, keys: str) -> int:
    """The requests of this package: a table read, a request of each row, and no key twice."""
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        snapshot = take_snapshot(find_source(str(source)), Path(folder))
        asked = Asked(prompt=_PROMPT, temperature=0.2, key=() if keys == "derived" else (keys,))
        builder = Builder(make_recipe(asked), tuple(snapshot.columns))
        made = make_requests(snapshot, builder, Path(folder), name=source.name)
        made.path.replace(output)
    return made.count


def jinja2(source: Path, output: Path, key: str) -> int:
    """The loop that a program with jinja2 has."""
    import jinja2

    prompt = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(_PROMPT)
    count = 0
    with output.open("w") as lines:
        for row in _rows(source):
            count += 1
            request = {
                "contents": [{"role": "user", "parts": [{"text": prompt.render(row)}]}],
                "generationConfig": {"temperature": 0.2},
            }
            lines.write(json.dumps({"key": str(row[key]), "request": request}) + "\n")
    return count


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    if source.suffix == ".csv":
        with source.open(newline="") as file:
            yield from csv.DictReader(file)
        return
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(source).iter_batches():
        yield from batch.to_pylist()


def join(table: Path, answers: Path, output: Path) -> int:
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


def read(source: Path) -> int:
    """Read the table, in batches of Arrow."""
    import duckdb

    with duckdb.connect() as db:
        return sum(batch.num_rows for batch in db.sql(f"FROM '{source}'").to_arrow_reader())


def duckdb_make(source: Path, output: Path) -> int:
    """One statement of SQL that writes the same requests. It checks nothing, not even that no key is repeated."""
    import duckdb

    prompt = "'Classify this review of ' || sku || ':' || chr(10) || review"
    contents = f"[{{'role': 'user', 'parts': [{{'text': {prompt}}}]}}]"
    request = f"{{'contents': {contents}, 'generationConfig': {{'temperature': 0.2}}}}"
    with duckdb.connect() as db:
        query = f"SELECT id::VARCHAR AS key, {request} AS request FROM '{source}'"
        return _copied(db.execute(f"COPY ({query}) TO '{output}' (FORMAT json)"))


def duckdb_join(table: Path, answers: Path, output: Path) -> int:
    """One statement of SQL that joins by key. It checks no answer."""
    import duckdb

    how = "FORMAT csv" if output.suffix == ".csv" else "FORMAT parquet, COMPRESSION zstd"
    text, shape = "a.response.text", '{"sentiment":"VARCHAR","summary":"VARCHAR","score":"DOUBLE","topics":["VARCHAR"]}'
    columns = "{key: 'VARCHAR', verdict: 'VARCHAR', response: 'STRUCT(text VARCHAR)'}"
    with duckdb.connect() as db:
        query = f"""
            SELECT t.*, unnest(from_json({text}, '{shape}')), a.verdict, NULL::VARCHAR AS problem
            FROM '{table}' t JOIN read_json('{answers}', format = 'nd', columns = {columns}) a ON a.key = t.id::VARCHAR
        """
        return _copied(db.execute(f"COPY ({query}) TO '{output}' ({how})"))


def _copied(done: Any) -> int:
    """How many rows a COPY has written."""
    return int(done.fetchone()[0])


_STEPS: dict[str, Callable[..., int]] = {
    step.__name__: step for step in (table, answers, read, make, jinja2, duckdb_make, join, pyarrow, duckdb_join)
}

if __name__ == "__main__":
    step, *values = sys.argv[1:]
    numbers = {"table", "answers", "make", "jinja2"}  # their last argument is no file
    last = values[-1:] if step in numbers else []
    files = [Path(value) for value in (values[:-1] if last else values)]
    print(_STEPS[step](*files, *(int(one) if one.isdecimal() else one for one in last)))
