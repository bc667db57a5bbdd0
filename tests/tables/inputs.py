"""Every format that a table can have, written by programs that are not ours; and what it cannot say of a value."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tables.outputs.tables import SOURCE, TYPES, decimals, texts, times, whole, write_snapshot, zoned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Rows = list[dict[str, Any]]
Columns = dict[str, st.SearchStrategy[Any]]

#: What every table has: a mark for the prompt, the key, and whether anything is asked.
OWN = ("mark", "group", "ask")

_finite = st.floats(allow_nan=False, allow_infinity=False)
_nested = st.recursive(
    st.none() | st.booleans() | whole | _finite | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
).filter(lambda value: isinstance(value, (list, dict)))
_long = st.integers(2**63, 10**38 - 1) | st.integers(-(10**38) + 1, -(2**63) - 1)
_NOT_XML = re.compile("[\x00-\x08\x0b-\x0d\x0e-\x1f\ufffe\uffff]|_x(?=[0-9A-Fa-f]{4}_)")
#: At most 28 digits before the point, so that a column with integers has room for all of them.
_exact = decimals.filter(lambda value: abs(value) < 10**28)
TYPES["long"] = pa.decimal128(38, 0)


def _is_written_as_float(value: float) -> bool:
    return abs(value) < 1e300 and (not value.is_integer() or abs(value) > 1e16)


def _no_change(value: Any) -> Any:
    return value


def _no_empty_text(value: Any) -> Any:
    return None if value == "" else value


def _one_zero(value: Any) -> Any:
    return 0.0 if isinstance(value, float) and value == 0 else value


@dataclass(frozen=True)
class Form:
    """A format of tables.

    ``columns``: what it can hold, by the name that :data:`TYPES` has for the type; other names are text. ``write``
    makes a table of rows and returns what ``run`` is given. ``says``: a value as the format can say it.
    """

    columns: Columns
    write: Callable[[Rows, Path], Any]
    says: Callable[[Any], Any] = _no_change


_TEXTS: Columns = {"first": texts, '=odd "name",\n': texts, "ключ": texts}
#: Numbers of 15 digits, and times that a sheet has.
_CELLS: Columns = {
    "text": texts,
    "whole": st.integers(-(10**15) + 1, 10**15 - 1),
    "float": _finite.map(lambda value: float(f"{value:.14e}")).filter(_is_written_as_float),
    "truth": st.booleans(),
    "at": st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 30)).map(  # noqa: DTZ001 - without a zone
        lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
    ),
}
_JSON: Columns = {"text": texts, "whole": whole, "float": _finite, "truth": st.booleans(), "anything": _nested}
#: Whether SQLite keeps the sign of zero depends on its version.
_DATABASE: Columns = {"text": texts, "whole": whole, "float": _finite.map(_one_zero), "bytes": st.binary(max_size=10)}
_PYTHON: Columns = {
    **_JSON,
    "float": st.floats(),
    "long": _long,
    "exact": _exact,
    "day": st.dates(),
    "at": times,
    "zoned": zoned,
    "bytes": st.binary(max_size=10),
}
_ARROW: Columns = {name: values for name, (_, values) in SOURCE.items()}


def _csv(rows: Rows, folder: Path, name: str, delimiter: str) -> str:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)])
    return str(folder / name)


def _jsonl(rows: Rows, folder: Path) -> str:
    text = "".join(json.dumps(row, ensure_ascii=index % 2 == 0) + "\n" for index, row in enumerate(rows))
    (folder / "in.jsonl").write_bytes(text.encode())
    return str(folder / "in.jsonl")


def _json(rows: Rows, folder: Path) -> str:
    (folder / "in.json").write_bytes(json.dumps(rows, indent=1, ensure_ascii=False).encode())
    return str(folder / "in.json")


def _excel(rows: Rows, folder: Path) -> str:
    book = openpyxl.Workbook()
    sheet = book.active
    for at, row in enumerate([dict(zip(rows[0], rows[0], strict=True)), *rows], 1):
        for column, value in enumerate(row.values(), 1):
            cell = sheet.cell(at, column)
            cell.value = _in_xml(value) if isinstance(value, str) else value
            if isinstance(value, str):
                cell.data_type = "s"
    book.save(folder / "in.xlsx")
    return str(folder / "in.xlsx")


def _in_xml(text: str) -> str:
    """As Excel writes what XML cannot hold, or would change."""
    return _NOT_XML.sub(lambda found: "_x005F_x" if found[0] == "_x" else f"_x{ord(found[0]):04X}_", text)


def _sqlite(rows: Rows, folder: Path) -> str:
    with sqlite3.connect(folder / "in.db") as db:
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in rows[0])
        db.execute(f"CREATE TABLE items ({names})")
        db.executemany(
            f"INSERT INTO items VALUES ({', '.join('?' * len(rows[0]))})", [(*row.values(),) for row in rows]
        )
    db.close()
    return str(folder / "in.db")


def _table(rows: Rows, folder: Path) -> pa.Table:
    own = {name: pa.array([row[name] for row in rows], pa.string()) for name in OWN}
    write_snapshot([{name: row[name] for name in SOURCE} for row in rows], folder / "typed.parquet")
    typed = pq.read_table(folder / "typed.parquet")
    return pa.table({name: own[name] if name in own else typed[name] for name in rows[0]})


def _parquet(rows: Rows, folder: Path) -> str:
    pq.write_table(_table(rows, folder), folder / "in.parquet")
    return str(folder / "in.parquet")


FORMS: dict[str, Form] = {
    "CSV": Form(_TEXTS, lambda rows, folder: _csv(rows, folder, "in.csv", ","), _no_empty_text),
    "TSV": Form(_TEXTS, lambda rows, folder: _csv(rows, folder, "in.tsv", "\t"), _no_empty_text),
    "JSON": Form(_JSON, _json),
    "JSON lines": Form(_JSON, _jsonl),
    "Parquet": Form(_ARROW, _parquet),
    "Arrow": Form(_ARROW, _table),
    "Excel": Form(_CELLS, _excel, lambda value: _one_zero(_no_empty_text(value))),
    "SQLite": Form(_DATABASE, _sqlite),
    "Python": Form(_PYTHON, lambda rows, _: rows),
}
