"""Parquet files as BigQuery loads them: columns with its types, and rows as values of JSON.

Needs pyarrow, which the extra ``bigquery`` brings.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.vertex.storage.failures import CloudFailure, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Rows that are held at a time.
_ROWS = 2048


def needed() -> Any:
    """pyarrow. Raises :class:`CloudFailure` (501) if it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise CloudFailure(
            501, "notImplemented", "The emulator loads Parquet with pyarrow: pip install 'gemini-batch[bigquery]'"
        ) from None
    return pyarrow


def columns_of_file(path: Path, *, lists: bool) -> list[dict[str, Any]]:
    """The columns of a file. ``lists``: lists become arrays. Raises :class:`CloudFailure` (400, 501)."""
    pyarrow = needed()
    try:
        schema = pyarrow.parquet.read_schema(path)
    except pyarrow.ArrowException:
        raise invalid("Error while reading data, error message: Input file is not in Parquet format.") from None
    return [_column(one.name, one.type, lists=lists) for one in schema]


def rows_of_file(path: Path, *, lists: bool) -> Iterator[dict[str, Any]]:
    """The rows of a file, each as an object. ``lists``: as above."""
    file = needed().parquet.ParquetFile(path)
    try:
        for batch in file.iter_batches(_ROWS):
            yield from ({name: _value(value, lists=lists) for name, value in row.items()} for row in batch.to_pylist())
    finally:
        file.close()


def _column(name: str, kind: Any, *, lists: bool) -> dict[str, Any]:
    types = needed().types
    if types.is_list(kind) or types.is_large_list(kind):
        inner = _column("element", kind.value_type, lists=lists)
        if not lists:
            element = {"name": "element", **inner, "mode": "REPEATED"}
            return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": [element]}
        if inner["mode"] == "REPEATED":
            raise invalid(f"Error while reading data: column {name} is an array of arrays.")
        return {**inner, "name": name, "mode": "REPEATED"}
    if types.is_struct(kind):
        fields = [_column(one.name, one.type, lists=lists) for one in kind]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": fields}
    return {"name": name, "type": _type(name, kind), "mode": "NULLABLE", "fields": []}


def _type(name: str, kind: Any) -> str:
    types = needed().types
    if types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "DATETIME"
    if types.is_decimal(kind):
        return "NUMERIC" if kind.scale <= 9 and kind.precision - kind.scale <= 29 else "BIGNUMERIC"
    if getattr(kind, "extension_name", "") == "arrow.json":
        return "JSON"
    known = {
        "STRING": types.is_string(kind) or types.is_large_string(kind),
        "BYTES": types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind),
        "BOOLEAN": types.is_boolean(kind),
        "INTEGER": types.is_integer(kind),
        "FLOAT": types.is_floating(kind),
        "DATE": types.is_date(kind),
        "TIME": types.is_time(kind),
    }
    found = next((one for one, is_it in known.items() if is_it), None)
    if found is None:
        raise invalid(f"Error while reading data: column {name} has the type {kind}, which cannot be loaded.")
    return found


def _value(value: Any, *, lists: bool) -> Any:
    match value:
        case list():
            inner = [_value(one, lists=lists) for one in value]
            return inner if lists else {"element": inner}
        case dict():
            return {name: _value(one, lists=lists) for name, one in value.items()}
        case bytes():
            return base64.b64encode(value).decode()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return f"{value:f}"
        case float() if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN differs from itself
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case _:
            return value
