"""Rows in an order of their own, for tables whose rows come in any order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from gemini_batch.jsonl import private_open
from gemini_batch.stopping import check
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Bytes of rows that are put in order in memory at a time, and into how many parts a table is divided for it.
_PART, _MOST = 64 * 1024 * 1024, 256
_ROWS = 10_000
_PLACE = "__place"


def write_in_order(rows: Path, path: Path, key: Sequence[str], scratch: Path, name: str, *, size: int) -> None:
    """Write the rows of a Parquet file to another one, in the order of their keys, and of their content where keys are
    equal. ``size``: their bytes in memory; ``name``: the table, for messages.

    Only the keys are sorted as a whole. The rows are put into files by their places, and each of these is sorted alone.
    Raises UsageError, StateError for a full disk, OSError.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    places = _places(rows, key, scratch, name)
    parts = min(_MOST, size // _PART + 1)
    each = -(-len(places) // parts)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(parquet.ParquetFile(rows))
        schema = source.schema_arrow.append(pa.field(_PLACE, pa.int64()))
        files = [scratch / f"part-{number}" for number in range(parts)]
        writers = [
            stack.enter_context(pa.ipc.new_stream(stack.enter_context(private_open(file, "wb")), schema))
            for file in files
        ]
        at = 0
        for batch in source.iter_batches(_ROWS):
            check()
            place = places.slice(at, batch.num_rows).combine_chunks()
            at += batch.num_rows
            part, whole = compute.divide(place, each), batch.append_column(_PLACE, place)
            for number in part.unique().to_pylist():
                writers[number].write_batch(whole.filter(compute.equal(part, number)))
    with private_open(path, "wb") as target, parquet.ParquetWriter(target, schema.remove(len(schema) - 1)) as writer:
        for file in files:
            check()
            with file.open("rb") as opened, pa.ipc.open_stream(opened) as stream:
                table = stream.read_all()
            file.unlink()
            if table.num_rows:
                writer.write_table(table.sort_by(_PLACE).drop_columns([_PLACE]))


def _places(rows: Path, key: Sequence[str], scratch: Path, name: str) -> Any:
    """For each row its place in the order, from 0."""
    from pyarrow import parquet

    keys, places = scratch / "keys", scratch / "places"
    with duck.duckdb(scratch) as db, duck.explained("The table cannot be read", file=name, next="Check the table."):
        relation = f"read_parquet({duck.reading(rows)}, hive_partitioning = false, file_row_number = true)"
        there = {row[0] for row in db.execute(f"DESCRIBE SELECT * FROM {duck.own_parquet(rows)}").fetchall()}
        sorted_by = [column for column in key if column in there]
        # The number of a row is no part of its content.
        content = "md5_number_lower(CAST(struct_pack(" + ", ".join(map(_field, sorted(there))) + ") AS VARCHAR))"
        kept = ", ".join([*(f"{duck.name(one)} AS k{at}" for at, one in enumerate(sorted_by)), f"{content} AS content"])
        private_open(keys, "wb").close()
        # In a file of their own, for sorting holds all that is selected.
        db.execute(
            f"COPY (SELECT {kept}, file_row_number AS number FROM {relation}) TO {duck.text(str(keys))} "
            f"(FORMAT parquet, ROW_GROUP_SIZE {_ROWS}, USE_TMP_FILE false)"
        )
        order = ", ".join([*(f"k{at} NULLS LAST" for at in range(len(sorted_by))), "content"])
        private_open(places, "wb").close()
        db.execute(
            f"COPY (SELECT place FROM (SELECT number, row_number() OVER (ORDER BY {order}) - 1 AS place "
            f"FROM {duck.own_parquet(keys)}) ORDER BY number) TO {duck.text(str(places))} "
            "(FORMAT parquet, USE_TMP_FILE false)"
        )
    found = parquet.read_table(places).column(0)
    places.unlink()
    keys.unlink()
    return found


def _field(column: str) -> str:
    return f"{duck.name(column)} := {duck.name(column)}"
