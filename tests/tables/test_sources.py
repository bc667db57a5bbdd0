# ruff: noqa: DTZ001 - tables hold times without a zone
"""What holds rows, and that its rows are in the snapshot as they were."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.errors import UsageError
from gemini_batch.tables.sources.snapshot import Given, Snapshot, take_snapshot
from gemini_batch.tables.sources.source import Kind, Source, find_source, query


def snapshot(what: object, scratch: Path, **options: Any) -> Snapshot:
    scratch.mkdir(exist_ok=True)
    source = find_source(str(what)) if isinstance(what, (str, Path)) else what
    assert isinstance(source, (Source, Given))
    return take_snapshot(source, scratch, **options)


def rows(made: Snapshot) -> list[dict[str, Any]]:
    """The rows by another reader."""
    found: list[dict[str, Any]] = pq.read_table(made.path).to_pylist()
    assert len(found) == made.rows
    return found


# What is found -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", b"a,b\n1,2\n", Kind.CSV),
        ("a.tsv", b"a\tb\n1\t2\n", Kind.CSV),
        ("a.dat", b"a;b\n1;2\n", Kind.CSV),
        ("a.json", b'[{"a": 1}]', Kind.JSON),
        ("a.jsonl", b'{"a": 1}\n', Kind.JSON),
        ("a", b'{"a": 1}\n', Kind.JSON),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0), Kind.CSV),
    ],
)
def test_files_are_known_by_name_and_content(tmp_path: Path, name: str, content: bytes, kind: Kind) -> None:
    (tmp_path / name).write_bytes(content)

    assert find_source(str(tmp_path / name)).kind is kind
    assert snapshot(tmp_path / name, tmp_path / "scratch").rows == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "does not exist"),
        ("empty.csv", b"", "empty"),
        ("a.parquet", b"a,b\n1,2\n", "By its ending this is a Parquet file"),
        ("a.txt", b"some words", "not clear how to read"),
        ("header.csv", b"a,b\n", "no rows"),
        ("twice.csv", b"a,a\n1,2\n", "Two columns are called 'a'"),
        ("case.csv", b"a,A\n1,2\n", "differ only in upper and lower case"),
        ("wide.csv", b"a,b\n1,2\n1,2,3\n", "row 2 has 3 cells, and the header has 2"),
        ("narrow.csv", b"a,b\n1\n", "row 1 has 1 cell, and the header has 2"),
        ("open.csv", b'a,b\n1,"x\n', "row 1"),
        ("numbers.json", b"[1, 2]", "not objects"),
        ("broken.json", b'[{"a": 1}', "cannot be read"),
        ("a.db::x", None, "does not exist"),
        ("*.csv", None, "No file matches"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=said) as found:
        snapshot(tmp_path / name, tmp_path / "scratch")

    assert found.value.exit_code == 2


def test_folders(tmp_path: Path) -> None:
    for year in (2025, 2026):
        (tmp_path / "t" / f"year={year}").mkdir(parents=True)
        pq.write_table(pa.table({"a": [year]}), tmp_path / "t" / f"year={year}" / "part.parquet")
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "b.pdf").write_bytes(b"12345")
    (tmp_path / "files" / "sub" / "a.png").write_bytes(b"1")
    (tmp_path / "files" / ".hidden").write_bytes(b"1")

    assert rows(snapshot(tmp_path / "t", tmp_path / "s1")) == [{"a": 2025, "year": 2025}, {"a": 2026, "year": 2026}]
    assert rows(snapshot(str(tmp_path / "t" / "**" / "*.parquet"), tmp_path / "s2"))[1]["a"] == 2026
    assert rows(snapshot(tmp_path / "files", tmp_path / "s3")) == [
        {"path": "b.pdf", "name": "b.pdf", "bytes": 5, "mime": "application/pdf"},
        {"path": "sub/a.png", "name": "a.png", "bytes": 1, "mime": "image/png"},
    ]


def test_several_files_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("y;x\n4;3\n")

    assert rows(snapshot(str(tmp_path / "*.csv"), tmp_path / "s")) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]
    (tmp_path / "c.csv").write_text("x,z\n1,2\n")
    with pytest.raises(UsageError, match="other columns"):
        snapshot(str(tmp_path / "*.csv"), tmp_path / "s")


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_many_rows_stay_in_their_order(tmp_path: Path, ending: str) -> None:
    """More than one thread reads or writes at a time."""
    numbers = range(400_000)
    if ending == "parquet":
        pq.write_table(pa.table({"n": numbers}), tmp_path / "a.parquet", row_group_size=5_000)
    else:
        lines = [f'{{"n": {number}}}' if ending == "jsonl" else str(number) for number in numbers]
        (tmp_path / f"a.{ending}").write_text("n\n" * (ending == "csv") + "\n".join(lines))

    found = pq.read_table(snapshot(tmp_path / f"a.{ending}", tmp_path / "s").path)["n"]

    assert [int(number) for number in found.to_pylist()] == list(numbers)


# CSV -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "text", "noted"),
    [
        ("utf-8", "größe,naïve\n1,ü\n", ""),
        ("utf-8-sig", "größe,naïve\n1,ü\n", ""),
        ("utf-16", "größe,naïve\n1,ü\n", "utf-16"),
        ("utf-16-le", "größe,naïve\n1,ü\n", "utf-16-le"),
        ("cp1252", "größe,naïve\n1,€ ü\n", "windows-1252"),
        ("shift_jis", "名前,レビュー\n田中,とても良い商品でした。また買いたいと思います。\n", "cp932"),
    ],
)
def test_encodings_are_detected_and_said(tmp_path: Path, encoding: str, text: str, noted: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))

    made = snapshot(tmp_path / "a.csv", tmp_path / "s")

    expected = list(csv.DictReader(io.StringIO(text)))
    assert rows(made) == expected
    assert noted in " ".join(made.notes)
    assert bool(made.notes) == bool(noted)


def test_a_stated_encoding_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("a,b\n1,ş\n".encode("iso8859_9"))

    assert rows(snapshot(tmp_path / "a.csv", tmp_path / "s", encoding="iso8859_9"))[0]["b"] == "ş"
    with pytest.raises(UsageError, match="not ascii"):
        snapshot(tmp_path / "a.csv", tmp_path / "s", encoding="ascii")
    with pytest.raises(UsageError, match="no encoding"):
        snapshot(tmp_path / "a.csv", tmp_path / "s", encoding="latin-99")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_detected(tmp_path: Path, delimiter: str) -> None:
    lines = [["id", "text"], ["007", f'quoted "{delimiter}", and\na line; more | of, it'], ["8", ""]]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)

    assert rows(snapshot(tmp_path / "a.csv", tmp_path / "s")) == [
        {"id": "007", "text": lines[1][1]},
        {"id": "8", "text": None},
    ]


def test_mixed_line_endings_and_long_cells(tmp_path: Path) -> None:
    """duckdb takes neither."""
    long = "x" * 9_000_000
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\r\n3,"' + long.encode() + b'"\n')

    assert rows(snapshot(tmp_path / "a.csv", tmp_path / "s")) == [{"a": "1", "b": "2"}, {"a": "3", "b": long}]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], delimiter: str, end: str
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("first", "second"), *cells])

    found = rows(snapshot(folder / "a.csv", folder / "s", delimiter=delimiter))

    assert [(row["first"] or "", row["second"] or "") for row in found] == cells


# JSON, and rows of Python --------------------------------------------------------------------------------------------


def test_values_of_json_are_not_changed(tmp_path: Path) -> None:
    lines = [
        '{"long":12345678901234567890123,"int":9007199254740993,"float":0.1,"date":"2024-01-05","nested":{"x":[1,{}]},"n":null}',
        '{"long":1,"int":-9223372036854775808,"float":1e300,"date":"2024-13-99","flag":true,"mixed":"5"}',
        '{"mixed":5,"float":2,"text":"\\u2028 \\ud83d\\ude00"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.json").write_text(f"[{','.join(lines)}]")

    for name in ("a.jsonl", "b.json"):
        made = snapshot(tmp_path / name, tmp_path / "s")
        found = rows(made)
        assert [json.loads(row["long"]) if row["long"] else None for row in found] == [12345678901234567890123, 1, None]
        assert [row["int"] for row in found] == [9007199254740993, -(2**63), None]
        assert [row["float"] for row in found] == [0.1, 1e300, 2.0]
        assert [row["date"] for row in found] == ["2024-01-05", "2024-13-99", None]
        assert json.loads(found[0]["nested"]) == {"x": [1, {}]}
        assert [row["flag"] for row in found] == [None, True, None]
        assert [row["mixed"] and json.loads(row["mixed"]) for row in found] == [None, "5", 5]
        assert found[2]["text"] == "\u2028 😀"
        assert made.columns["int"] == "BIGINT"


@dataclass
class Item:
    name: str
    price: decimal.Decimal


class Struct(msgspec.Struct):
    name: str
    price: decimal.Decimal


class Model(pydantic.BaseModel):
    name: str
    price: decimal.Decimal


@pytest.mark.parametrize("kind", [Item, Struct, Model, lambda **fields: fields])
def test_objects_with_fields_are_rows(tmp_path: Path, kind: Any) -> None:
    made = snapshot(Given([kind(name="a", price=decimal.Decimal("1.10"))]), tmp_path)

    assert rows(made) == [{"name": "a", "price": decimal.Decimal("1.10")}]


def test_data_frames_and_arrow_streams(tmp_path: Path) -> None:
    columns = {"a": [1, 2**53 + 1], "b": ["x", None]}

    for at, table in enumerate((pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns))):
        assert rows(snapshot(Given(table), tmp_path / str(at))) == [
            {"a": 1, "b": "x"},
            {"a": 2**53 + 1, "b": None},
        ]


def test_what_duckdb_cannot_take_is_refused(tmp_path: Path) -> None:
    for values in (pa.array([0.5], pa.float16()), pa.array([decimal.Decimal(1)], pa.decimal256(50, 2))):
        with pytest.raises(UsageError, match="The table cannot be read"):
            snapshot(Given(pa.table({"a": values})), tmp_path / str(values.type))


def test_durations_are_text(tmp_path: Path) -> None:
    given_rows = pa.table({"a": pa.array([dt.timedelta(days=1, seconds=1.5), None])})

    assert rows(snapshot(Given(given_rows), tmp_path)) == [{"a": "24:00:01.5"}, {"a": None}]


VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**100), 2**100),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9),
    st.dates(min_value=dt.date(1, 1, 1)),
    st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2100, 1, 1)),
    st.binary(max_size=5),
    st.lists(st.integers(-5, 5), max_size=3),
)


@given(st.data())
def test_any_value_is_kept(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """One type in a column: the same values come back. Several: their texts do."""
    values = data.draw(st.lists(VALUE, min_size=1, max_size=6))
    made = snapshot(Given([{"v": value, "at": at} for at, value in enumerate(values)]), tmp_path_factory.mktemp("v"))

    found = [row["v"] for row in rows(made)]
    kinds = {type(value) for value in values if value is not None}
    for value, kept in zip(values, found, strict=True):
        if value is None:
            assert kept is None
        elif made.columns["v"] == "JSON":
            assert json.loads(kept) == json.loads(msgspec.json.encode(value)) or isinstance(kept, str)
        elif made.columns["v"] == "VARCHAR":
            assert isinstance(kept, str)
        elif len(kinds) == 1 or kinds <= {int, float, decimal.Decimal}:
            assert kept == value


def test_what_is_no_row_is_refused(tmp_path: Path) -> None:
    for rows_given, said in (
        ([1], "Row 1 has the type int"),
        ("abc", "str is not a table"),
        ([], "no rows"),
        ([{"a": "\ud800"}], "row 1"),
    ):
        with pytest.raises(UsageError, match=said):
            snapshot(Given(rows_given), tmp_path)


# Excel, SQLite, SQL --------------------------------------------------------------------------------------------------


def test_excel(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "price", "when", None])
    sheet.append([1001, 1.5, dt.datetime(2024, 1, 5), None])
    sheet.append([None, None, None, None])
    sheet.append([2, 2, None, None])
    book.create_sheet("Second").append(["only"])
    book.save(tmp_path / "a.xlsx")

    assert rows(snapshot(tmp_path / "a.xlsx", tmp_path / "s")) == [
        {"id": 1001, "price": 1.5, "when": dt.datetime(2024, 1, 5)},
        {"id": 2, "price": 2.0, "when": None},
    ]
    with pytest.raises(UsageError, match="no rows"):
        snapshot(f"{tmp_path}/a.xlsx::Second", tmp_path / "s")
    with pytest.raises(UsageError, match="has no sheet 'Third'"):
        snapshot(f"{tmp_path}/a.xlsx::Third", tmp_path / "s")


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("book.xlsx", "book.xlsx::Reviews 2026"),  # the first sheet is empty
        ("book.xlsx::Reviews", "book.xlsx::Reviews 2026"),
        ("book.xlsx::reviews 2026", "book.xlsx::Reviews 2026"),
        ("shop.db::product", "shop.db::products"),
        ("shop.db::PRODUCTS", "shop.db::products"),
    ],
)
def test_the_proposed_part_is_the_one_that_was_meant_as_a_shell_takes_it(
    tmp_path: Path, name: str, proposed: str
) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Empty"
    sheet = book.create_sheet("Reviews 2026")
    sheet.append(["id"])
    sheet.append([1])
    book.create_sheet("Notes").append(["only", "a header"])
    book.save(tmp_path / "book.xlsx")
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE aaa (id INTEGER)")
        db.execute("CREATE TABLE products (id INTEGER)")
        db.execute("INSERT INTO products VALUES (1)")
    db.close()

    with pytest.raises(UsageError) as caught:
        snapshot(f"{tmp_path}/{name}", tmp_path / "s")

    given = shlex.split(str(caught.value.next).rpartition(": ")[2])
    assert given == [f"{tmp_path}/{proposed}"]
    assert rows(snapshot(given[0], tmp_path / "s")) == [{"id": 1}]


def test_what_excel_escapes_is_read_as_the_character(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["a_x0009_b"])
    for cell in ("x_x000D_y", "_x005F_x0041_", "_xD83D_", "_x00", "_x005f_"):
        book.active.append([cell])
    book.save(tmp_path / "a.xlsx")

    found = rows(snapshot(tmp_path / "a.xlsx", tmp_path / "s"))

    assert [row["a\tb"] for row in found] == ["x\ry", "_x0041_", "_xD83D_", "_x00", "_"]


def test_sqlite(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as db:
        db.execute("CREATE TABLE items (id INTEGER, name TEXT, data BLOB)")
        db.executemany("INSERT INTO items VALUES (?, ?, ?)", [(2**53 + 1, "a", b"\0x"), (2, None, None)])
        db.execute("CREATE VIEW few AS SELECT id FROM items LIMIT 1")
    db.close()

    found = rows(snapshot(f"{tmp_path}/shop.db::items", tmp_path / "s"))
    assert found == [{"id": 2**53 + 1, "name": "a", "data": b"\0x"}, {"id": 2, "name": None, "data": None}]
    assert len(rows(snapshot(f"{tmp_path}/shop.db::few", tmp_path / "s"))) == 1
    for name, said in ("shop.db", "several tables"), ("shop.db::other", "no table 'other'"):
        with pytest.raises(UsageError, match=said):
            snapshot(f"{tmp_path}/{name}", tmp_path / "s")


def test_sql(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "a.parquet")

    long = f"SELECT a, a * 10000000000000000001 AS b FROM '{tmp_path}/a.parquet' WHERE a > 1;"
    made = snapshot(query(long), tmp_path / "s")

    assert rows(made) == [{"a": 2, "b": 2 * (10**19 + 1)}, {"a": 3, "b": 3 * (10**19 + 1)}]
    with pytest.raises(UsageError, match="syntax error"):
        snapshot(query("SELEC 1"), tmp_path / "s")


def test_parquet_keeps_every_type(tmp_path: Path) -> None:
    table = pa.table(
        {
            "decimal": pa.array([decimal.Decimal("1.10")], pa.decimal128(20, 2)),
            "when": pa.array([dt.datetime(2024, 1, 5, 10, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
            "nested": pa.array([{"a": [1, 2], "b": {"c": "x"}}]),
            "bytes": pa.array([b"\0"]),
            "long": pa.array([2**64 - 1], pa.uint64()),
            "small": pa.array([1], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")

    found = pq.read_table(snapshot(tmp_path / "a.parquet", tmp_path / "s").path)

    assert found.to_pylist() == table.to_pylist()
    assert found.schema.types[0] == pa.decimal128(20, 2)


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def values_of(what: object, scratch: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows(snapshot(what, scratch))]


@pytest.mark.parametrize("array", [False, True])
def test_several_json_files_are_one_table(tmp_path: Path, scratch: Path, array: bool) -> None:
    for number in range(6):
        row = json.dumps({"id": number, "text": f"t{number}"})
        (tmp_path / f"{number}.json").write_text(f"[{row}]" if array else row + "\n")
    assert values_of(tmp_path / "*.json", scratch) == [(number, f"t{number}") for number in range(6)]


@pytest.mark.parametrize(("ending", "text"), [(".csv", "id,t\n1,a\n"), (".jsonl", '{"id": "1", "t": "a"}\n')])
def test_folders_with_equals_signs_are_columns_of_text_files(
    tmp_path: Path, scratch: Path, ending: str, text: str
) -> None:
    for place in ("code=007/region=eu", "code=8/region=a%20b", "code=9/region=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / f"x{ending}").write_text(text)
    expected = [("1", "a", "007", "eu"), ("1", "a", "8", "a b"), ("1", "a", "9", None)]
    assert values_of(tmp_path, scratch) == expected


def test_csv_files_in_folders_of_other_names_are_refused(tmp_path: Path, scratch: Path) -> None:
    for place in ("year=2025", "month=1"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").write_text("id,t\n1,a\n")
    with pytest.raises(UsageError, match="other columns"):
        values_of(tmp_path, scratch)
    (tmp_path / "month=1").rename(tmp_path / "year=2026")
    (tmp_path / "year=2026" / "x.csv").write_text("id,year\n1,a\n")
    (tmp_path / "year=2025" / "x.csv").write_text("id,year\n1,a\n")
    with pytest.raises(UsageError, match="Two columns are called 'year'"):
        values_of(tmp_path, scratch)


@pytest.mark.parametrize("values", [(2**53 + 1, 1.5), (1.5, 2**53 + 1), (2**53 + 1, 2**53 + 2, 0.5)])
def test_long_integers_beside_fractions_are_kept_as_text(
    tmp_path: Path, scratch: Path, values: tuple[float, ...]
) -> None:
    database = sqlite3.connect(tmp_path / "x.db")
    database.execute("CREATE TABLE t (id)")
    database.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    database.commit()
    database.close()
    assert values_of(tmp_path / "x.db", scratch) == [(str(value),) for value in values]
