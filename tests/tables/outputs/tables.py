"""Tables of any values, and readers that are not ours: what each format says of a row, as Python values."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import sqlite3
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

csv.field_size_limit(1 << 30)

#: Stands for JSON text, which Arrow has no type for.
JSON = "json"

_WORDS = st.sampled_from(
    [
        "",
        " ",
        "null",
        "NULL",
        "NaN",
        "true",
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\r",
        "a\r\nb",
        '"',
        '""',
        ",",
        "'",
        "\\N",
        "\u2028",
        "\x85",
        "\x00",
        "\ufeff",
        "\ufffe",
        "_x0041_",
        "😀",
        "é",
        "é",
        "\x1b[31m",
        "ab\x0b",
        "{",
        "#N/A",
        "🙂" * 3,
    ]
)
texts = _WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.lists(_WORDS).map("".join)
whole = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53 + 1, -(2**53) - 1, 10**15, 0])
_EXACT = Context(prec=50)
decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda digits: Decimal(digits).scaleb(-10, _EXACT))
floats = st.floats() | st.sampled_from([0.1 + 0.2, 1e22, 1e-7, 5e-324, -0.0])
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - without a zone
zoned = times.map(lambda time: time.replace(tzinfo=UTC))

_OBJECT = pa.struct([("a", pa.int64()), ('b "c"', pa.list_(pa.string())), ("raw", pa.binary()), ("x", pa.float64())])


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


_objects = st.fixed_dictionaries(
    {
        "a": _maybe(whole),
        'b "c"': _maybe(st.lists(_maybe(texts), max_size=3)),
        "raw": _maybe(st.binary(max_size=4)),
        "x": _maybe(floats),
    }
)
#: The columns of the user's table: any type that a snapshot can have.
SOURCE: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), texts),
    "whole": (pa.int64(), whole),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "exact": (pa.decimal128(38, 10), decimals),
    "float": (pa.float64(), floats),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "at": (
        pa.timestamp("us"),
        times | times.map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)),
    ),
    "zoned": (pa.timestamp("us", tz="UTC"), zoned),
    "bytes": (pa.binary(), st.binary(max_size=10)),
    '=strange "name",\n': (pa.list_(pa.string()), st.lists(_maybe(texts), max_size=3)),
    "numbers": (pa.list_(pa.float64()), st.lists(_maybe(floats), max_size=3)),
    "grid": (pa.list_(pa.list_(pa.int64())), st.lists(_maybe(st.lists(_maybe(whole), max_size=2)), max_size=2)),
    "object": (_OBJECT, _objects),
    "objects": (pa.list_(_OBJECT), st.lists(_maybe(_objects), max_size=2)),
    "map": (pa.map_(pa.string(), pa.decimal128(38, 10)), st.dictionaries(texts, _maybe(decimals), max_size=2)),
    "flags": (pa.list_(pa.bool_()), st.lists(_maybe(st.booleans()), max_size=3)),
    "stamps": (pa.list_(pa.timestamp("us", tz="UTC")), st.lists(_maybe(zoned), max_size=2)),
}

#: The schema of the answers, its types, and values for them.
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "count": {"type": "integer"},
        "score": {"type": "number"},
        "sure": {"type": "boolean"},
        "topics": {"type": "array", "items": {"type": "string"}},
        "detail": {"type": "object", "properties": {"n": {"type": "integer"}, "any": {}}},
        "anything": {},
    },
}
_finite = st.floats(allow_nan=False, allow_infinity=False)
_any_json = st.recursive(
    st.booleans() | whole | _finite | texts,
    lambda inner: st.lists(_maybe(inner), max_size=2) | st.dictionaries(texts, _maybe(inner), max_size=2),
    max_leaves=4,
)
ANSWER: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "label": (pa.string(), texts),
    "count": (pa.int64(), whole),
    "score": (pa.float64(), _finite),
    "sure": (pa.bool_(), st.booleans()),
    "topics": (pa.list_(pa.string()), st.lists(_maybe(texts), max_size=3)),
    "detail": (
        {"n": pa.int64(), "any": JSON},
        st.fixed_dictionaries({"n": _maybe(whole), "any": _maybe(_any_json)}),
    ),
    "anything": (JSON, _any_json),
}
TYPES = {name: kind for name, (kind, _) in (SOURCE | ANSWER).items()} | {
    "media": pa.list_(pa.string()),
    "n": pa.int64(),
}


def rows_of(columns: dict[str, tuple[Any, st.SearchStrategy[Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """One row with any values, or nulls."""
    return st.fixed_dictionaries({name: _maybe(values) for name, (_, values) in columns.items()})


def write_snapshot(rows: list[dict[str, Any]], path: Path) -> None:
    """The user's table as Parquet."""
    schema = pa.schema([(name, kind) for name, (kind, _) in SOURCE.items()])
    columns = {name: [row[name] for row in rows] for name in SOURCE}
    columns["map"] = [None if one is None else list(one.items()) for one in columns["map"]]
    pq.write_table(pa.table(columns, schema=schema), path)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, of the same type; NaN is the same as NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    # JSON does not tell them apart, and no format but Python's own has integers of any length.
    if {type(one), type(other)} in ({int, float}, {int, Decimal}):
        return bool(one == other)
    return type(one) is type(other) and one == other


def from_json(kind: Any, value: Any) -> Any:
    """A value of a type, from JSON that was read with decimals for its numbers."""
    if value is None:
        return None
    if kind == JSON:
        return _plain(value)
    if isinstance(kind, dict):
        return {name: from_json(part, value[name]) for name, part in kind.items()}
    if pa.types.is_list(kind):
        return [from_json(kind.value_type, one) for one in value]
    if pa.types.is_struct(kind):
        return {field.name: from_json(field.type, value[field.name]) for field in kind}
    if pa.types.is_map(kind):
        return {name: from_json(kind.item_type, one) for name, one in value.items()}
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_floating(kind):
        return float(value)
    return from_text(kind, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def read_json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def from_text(kind: Any, text: str) -> Any:
    """A value of a type, from its documented text form."""
    if kind == JSON or isinstance(kind, dict) or pa.types.is_nested(kind):
        return from_json(kind, read_json(text))
    for is_kind, read in _READ:
        if is_kind(kind):
            return read(text)
    assert pa.types.is_string(kind)
    return text


_READ: list[tuple[Callable[[Any], bool], Callable[[str], Any]]] = [
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_decimal, Decimal),
    (pa.types.is_boolean, {"true": True, "false": False}.__getitem__),
    (pa.types.is_date, date.fromisoformat),
    (pa.types.is_timestamp, datetime.fromisoformat),
    (pa.types.is_binary, lambda text: base64.b64decode(text, validate=True)),
]

Read = list[dict[str, Any]]


def read_csv(path: Path, separator: str = ",") -> Read:
    """With the csv module, for the text, and with pyarrow, which tells null from the empty text."""
    text = path.read_bytes().decode()
    assert "\r\n" not in text.replace("a\r\nb", "") or '"' in text
    header, *records = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        read_options=pa.csv.ReadOptions(block_size=1 << 24),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    assert table.column_names == header
    rows = table.to_pylist()
    assert [[value or "" for value in row.values()] for row in rows] == records
    return [{name: _cell(name, value) for name, value in row.items()} for row in rows]


def _cell(name: str, value: str | None) -> Any:
    return None if value is None else from_text(TYPES.get(name, pa.string()), value)


def read_tsv(path: Path) -> Read:
    return read_csv(path, "\t")


def read_ndjson(path: Path) -> Read:
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    return [
        {name: from_json(TYPES.get(name, pa.string()), value) for name, value in read_json(line.decode()).items()}
        for line in data.split(b"\n")[:-1]
    ]


def read_sqlite(path: Path) -> Read:
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT * FROM results ORDER BY rowid")
        names = [one[0] for one in found.description]
        rows = [
            {name: _stored(TYPES.get(name, pa.string()), value) for name, value in zip(names, row, strict=True)}
            for row in found
        ]
    db.close()
    return rows


def _stored(kind: Any, value: Any) -> Any:
    if isinstance(kind, pa.DataType) and pa.types.is_boolean(kind) and value is not None:
        assert value in (0, 1)
        return bool(value)
    if isinstance(value, str):
        return from_text(kind, value)
    if value is not None:
        assert pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_binary(kind)
    return value


def read_xlsx(path: Path) -> Read:
    book = openpyxl.load_workbook(path)
    (sheet,) = book.worksheets
    header, *rows = [[(cell.data_type, cell.value) for cell in row] for row in sheet.iter_rows()]
    names = [unescape(value) for _, value in header]
    return [
        {name: _shown(TYPES.get(name, pa.string()), *cell) for name, cell in zip(names, row, strict=True)}
        for row in rows
    ]


def _shown(kind: Any, data_type: str, value: Any) -> Any:
    assert data_type != "f"
    if value is None:
        return None
    if data_type in {"s", "inlineStr"}:
        return from_text(kind, unescape(value))
    if pa.types.is_date(kind):
        return value.date()
    return float(value) if pa.types.is_floating(kind) else value


def read_parquet(path: Path) -> Read:
    return from_arrow(pq.read_table(path))


def from_arrow(table: pa.Table) -> Read:
    for name, kind in TYPES.items():
        if name in table.column_names and isinstance(kind, pa.DataType) and not pa.types.is_nested(kind):
            assert table.schema.field(name).type == kind, name
    return [{name: _arrow(TYPES.get(name), value) for name, value in row.items()} for row in table.to_pylist()]


def _arrow(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if kind == JSON:
        return _plain(read_json(value))
    if isinstance(kind, dict):
        return {name: _arrow(part, value[name]) for name, part in kind.items()}
    if isinstance(kind, pa.DataType) and pa.types.is_map(kind):
        return dict(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is not None else value


READERS: dict[str, Callable[[Path], Read]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".ndjson": read_ndjson,
    ".db": read_sqlite,
    ".xlsx": read_xlsx,
    ".parquet": read_parquet,
}
