"""Any value through every format: another reader finds it, on its own row."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import struct
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_batch.tables.outputs.cells import Cells, Filler
from gemini_batch.tables.outputs.columns import KEY, answer_columns
from gemini_batch.tables.outputs.write import ENDINGS, write_table
from tables.outputs.tables import ANSWER, READERS, SCHEMA, SOURCE, rows_of, same, texts, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = answer_columns(SCHEMA, method="generate", media=True, taken=list(SOURCE))
fill = Filler(COLUMNS)

#: A row: the user's values, and the answer, its media and problem; None for a row without an answer.
answers = st.none() | st.tuples(rows_of(ANSWER), st.none() | st.lists(texts, max_size=2), st.none() | texts)
tables = st.lists(st.tuples(rows_of(SOURCE), answers), min_size=1, max_size=4)


def cells(answer: tuple[dict[str, Any], list[str] | None, str | None] | None) -> Cells:
    if answer is None:
        return Cells(None)
    facts = {"verdict": "succeeded", "media": answer[1], "problem": answer[2]}
    return fill(facts, json.dumps(answer[0], ensure_ascii=False))


def expected(rows: list[Any], ending: str) -> list[dict[str, Any]]:
    """What a reader must find, where the format is not less than the table: see docs/tables.md."""
    wanted = []
    for source, answer in rows:
        values = dict.fromkeys([*ANSWER, "media", "verdict", "problem"])
        if answer is not None:
            values |= {**answer[0], "media": answer[1], "verdict": "succeeded", "problem": answer[2]}
        row = {name: source[name] for name in SOURCE} | values
        if ending == ".xlsx":  # a sheet has no empty text
            row |= {name: row[name] or None for name in ("text", "bytes", "label", "problem")}
        if ending in {".db", ".xlsx"}:  # they have one zero
            row |= {name: 0.0 for name in ("float", "score") if row[name] == 0}
        wanted.append(row)
    return wanted


def _empty(row: dict[str, Any]) -> bool:
    return all(value is None for value in row.values())


def same_rows(found: list[dict[str, Any]], wanted: list[dict[str, Any]], ending: str = "") -> None:
    if ending == ".xlsx":  # readers do not see rows without a value at the end
        found, wanted = (list(reversed(list(dropwhile(_empty, reversed(rows))))) for rows in (found, wanted))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert list(one) == list(other)
        for name in one:
            assert same(one[name], other[name]), (name, one[name], other[name])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", READERS)
@settings(max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "15")))
@given(rows=tables)
def test_any_table_through_every_format(ending: str, rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("k=v [x]*")
    write_snapshot([source for source, _ in rows], folder / "table.parquet")
    output = folder / f"out{ending}"

    count = write_table(folder / "table.parquet", (cells(answer) for _, answer in rows), COLUMNS, output)

    assert count == len(rows)
    same_rows(READERS[ending](output), expected(rows, ending), ending)
    assert {path.name for path in folder.iterdir()} == {"table.parquet", output.name}


def test_every_format_has_a_reader_here() -> None:
    assert {ENDINGS[ending] for ending in READERS} == set(ENDINGS.values())


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Three rows: 0, 1, 2 in the column ``n``."""
    pq.write_table(pa.table({"n": [0, 1, 2]}), tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


TEXT = answer_columns(None, method="generate")


def text_cells(*words: str | None) -> list[Cells]:
    return [Cells(None if word is None else [word, "succeeded", None]) for word in words]


@pytest.mark.parametrize("ending", READERS)
def test_very_long_text(ending: str, tmp_path: Path, snapshot: Path) -> None:
    long = 'a"é\n' * (8_000 if ending == ".xlsx" else 2_000_000)

    write_table(snapshot, text_cells("x", long, "y"), TEXT, tmp_path / f"out{ending}")

    assert [row["text"] for row in READERS[ending](tmp_path / f"out{ending}")] == ["x", long, "y"]


@pytest.mark.parametrize("ending", READERS)
def test_rows_that_are_not_kept_are_left_out_and_no_other_moves(ending: str, tmp_path: Path, snapshot: Path) -> None:
    first, second, third = text_cells("a", "b", None)

    count = write_table(snapshot, [first, second._replace(keep=False), third], TEXT, tmp_path / f"out{ending}")

    assert count == 2
    found = READERS[ending](tmp_path / f"out{ending}")
    assert [(str(row["n"]), row["text"]) for row in found] == [("0", "a"), ("2", None)]


@pytest.mark.parametrize("ending", READERS)
def test_many_rows_stay_in_their_order(ending: str, tmp_path: Path) -> None:
    """More rows than the engine reads, or writes, at a time."""
    count = 3_000 if ending == ".xlsx" else 150_000
    pq.write_table(pa.table({"n": range(count)}), tmp_path / "table.parquet", row_group_size=10_000)

    write_table(tmp_path / "table.parquet", text_cells(*map(str, range(count))), TEXT, tmp_path / f"out{ending}")

    found = READERS[ending](tmp_path / f"out{ending}")
    assert [(int(row["n"]), int(row["text"])) for row in found] == [(number, number) for number in range(count)]


@pytest.mark.parametrize("ending", READERS)
def test_without_a_table_there_are_keys(ending: str, tmp_path: Path) -> None:
    answers = [Cells(["k\n1", "x", "succeeded", None]), Cells(["k2", None, "failed", "No answer."])]

    assert write_table(None, answers, (KEY, *TEXT), tmp_path / f"out{ending}") == 2

    assert READERS[ending](tmp_path / f"out{ending}") == [
        {"key": "k\n1", "text": "x", "verdict": "succeeded", "problem": None},
        {"key": "k2", "text": None, "verdict": "failed", "problem": "No answer."},
    ]


@pytest.mark.parametrize("ending", READERS)
def test_no_rows_is_a_table_with_a_header(ending: str, tmp_path: Path) -> None:
    assert write_table(None, [], (KEY, *TEXT), tmp_path / f"out{ending}") == 0

    assert READERS[ending](tmp_path / f"out{ending}") == []
    if ending in {".csv", ".tsv"}:
        assert (tmp_path / f"out{ending}").read_bytes().split(b"\n")[1:] == [b""]


@pytest.mark.parametrize("ending", READERS)
def test_the_hash_is_that_of_the_file_and_is_known_before_it_appears(
    ending: str, tmp_path: Path, snapshot: Path
) -> None:
    output, seen = tmp_path / f"out{ending}", []
    output.write_bytes(b"old")

    def record(digest: str) -> None:
        assert output.read_bytes() == b"old"
        seen.append(digest)

    write_table(snapshot, text_cells("a", "b", "c"), TEXT, output, record=record)

    assert seen == [hashlib.sha256(output.read_bytes()).hexdigest()]


def test_half_a_surrogate_pair_becomes_a_sign_of_its_own(tmp_path: Path, snapshot: Path) -> None:
    write_table(snapshot, text_cells("a\ud83d", "b", "c"), TEXT, tmp_path / "out.ndjson")

    assert [row["text"] for row in READERS[".ndjson"](tmp_path / "out.ndjson")] == ["a\ufffd", "b", "c"]


def test_the_temporary_files_are_private_and_where_they_are_wanted(tmp_path: Path, snapshot: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    modes: list[int] = []

    def answers() -> Iterator[Cells]:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in scratch.iterdir())
        assert list(out.iterdir()) == []
        yield from text_cells("a", "b", "c")

    write_table(snapshot, answers(), TEXT, out / "out.parquet", temporary=scratch)

    assert modes == [0o600]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".ndjson"])
def test_text_is_written_to_a_pipe(ending: str, tmp_path: Path, snapshot: Path) -> None:
    pipe, wanted = tmp_path / f"pipe{ending}", tmp_path / f"file{ending}"
    os.mkfifo(pipe)
    write_table(snapshot, text_cells("a", "b", "c"), TEXT, wanted)

    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        assert write_table(snapshot, text_cells("a", "b", "c"), TEXT, pipe, temporary=tmp_path) == 3

    assert read.result(timeout=10) == wanted.read_bytes()


def test_the_name_of_a_table_and_of_a_sheet(tmp_path: Path, snapshot: Path) -> None:
    write_table(snapshot, text_cells("a", "b", "c"), TEXT, tmp_path / "out.sqlite")
    write_table(snapshot, text_cells("a", "b", "c"), TEXT, tmp_path / "out.xlsx")

    with contextlib.closing(sqlite3.connect(tmp_path / "out.sqlite")) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("results",)]
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert openpyxl.load_workbook(tmp_path / "out.xlsx").sheetnames == ["results"]


@pytest.mark.parametrize(("ending", "separator"), [(".csv", b","), (".tsv", b"\t")])
def test_when_a_field_of_csv_is_quoted(ending: str, separator: bytes, tmp_path: Path, snapshot: Path) -> None:
    for text, field in (
        ("", b'""'),
        ("a\nb", b'"a\nb"'),
        ("a\rb", b'"a\rb"'),
        (f"a{separator.decode()}b", b'"a' + separator + b'b"'),
        ('a"b', b'"a""b"'),
        ("a b;|'", b"a b;|'"),
        (None, b""),
    ):
        output = tmp_path / f"out{ending}"
        write_table(snapshot, [Cells([text, "succeeded", None]), Cells(None), Cells(None)], TEXT, output)
        assert output.read_bytes().split(b"\n0" + separator)[1].startswith(field + separator + b"succeeded"), text


@pytest.mark.parametrize("ending", READERS)
def test_folders_with_equals_signs_add_no_columns(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / "year=2026"
    folder.mkdir()
    pq.write_table(pa.table({"n": [1]}), folder / "table.parquet")
    write_table(folder / "table.parquet", text_cells("x"), TEXT, folder / f"out{ending}")

    assert list(READERS[ending](folder / f"out{ending}")[0]) == ["n", "text", "verdict", "problem"]


def test_an_embedding_has_a_fixed_length(tmp_path: Path, snapshot: Path) -> None:
    columns = answer_columns(None, method="embed", dimensions=2)
    answers = [Cells([[0.1, -1e-7], "succeeded", None]), Cells(None), Cells([[3, 4], "succeeded", None])]

    write_table(snapshot, answers, columns, tmp_path / "out.parquet")
    write_table(snapshot, answers, columns, tmp_path / "out.ndjson")

    vectors = pq.read_table(tmp_path / "out.parquet")["embedding"]
    assert vectors.type.value_type == pa.float32()
    single = [struct.unpack("2f", struct.pack("2f", *pair)) for pair in ((0.1, -1e-7), (3, 4))]
    assert vectors.to_pylist() == [list(single[0]), None, list(single[1])]
    lines = (tmp_path / "out.ndjson").read_text().splitlines()
    assert [json.loads(line)["embedding"] for line in lines] == [[0.1, -1e-7], None, [3.0, 4.0]]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_table_is_the_same_file(
    tmp_path: Path, snapshot: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that files can be compared, and kept under version control."""
    write_table(snapshot, text_cells("a", "=1+1", ""), TEXT, tmp_path / f"one{ending}")
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)

    write_table(snapshot, text_cells("a", "=1+1", ""), TEXT, tmp_path / f"two{ending}")

    assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()
    if ending == ".xlsx":
        with zipfile.ZipFile(tmp_path / "one.xlsx") as book:
            assert book.read("docProps/core.xml").count(b"1980-01-01T00:00:00Z") == 2


@pytest.mark.parametrize("ending", ENDINGS)
@given(vectors=st.lists(st.lists(st.floats() | st.integers() | st.none(), max_size=3), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_no_vector_stops_a_table(tmp_path_factory: pytest.TempPathFactory, ending: str, vectors: list[Any]) -> None:
    columns = answer_columns(None, method="embed", dimensions=2)
    fill_vectors, output = Filler(columns), tmp_path_factory.mktemp("out") / f"out{ending}"

    made = (fill_vectors({"embedding": vector, "verdict": "succeeded"}) for vector in vectors)

    assert write_table(None, made, columns, output) == len(vectors)
