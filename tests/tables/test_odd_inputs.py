"""Inputs that look like tables and are odd: each is read as it is meant, or refused with the reason."""

from __future__ import annotations

import gzip
import math
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest

from gemini_batch.errors import UsageError
from gemini_batch.intake.tabular import TableInput, check_not_read
from gemini_batch.objects.names import real
from gemini_batch.tables.making.builder import Builder
from gemini_batch.tables.making.prepare import make_requests
from gemini_batch.tables.making.recipe import Asked, make_recipe
from gemini_batch.tables.making.template import RenderError, Templates
from gemini_batch.tables.sources.snapshot import Given, take_snapshot
from gemini_batch.tables.sources.source import find_source, query


def read(source: Any, folder: Path, **options: Any) -> list[dict[str, Any]]:
    scratch = folder / "scratch"
    scratch.mkdir()
    made = take_snapshot(source, scratch, **options)
    found: list[dict[str, Any]] = pq.read_table(made.path).to_pylist()
    return found


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("\n\r\nid,t\n1,a\n", [{"id": "1", "t": "a"}]),
        ("\ufeff\nid,t\n1,a\n", [{"id": "1", "t": "a"}]),
        ("id,t\n1,a\n\n2,b\n\n", [{"id": "1", "t": "a"}, {"id": "2", "t": "b"}]),
        ("id,t\n1,a,,\n", [{"id": "1", "t": "a"}]),
        ("t\na\n\nb\n", [{"t": "a"}, {"t": None}, {"t": "b"}]),
        ("t\r\na\r\n\r\nb\r\n", [{"t": "a"}, {"t": None}, {"t": "b"}]),
        ("t\na\r\nb\r\n", [{"t": "a"}, {"t": "b"}]),
        ('t\n""\n', [{"t": None}]),
    ],
)
def test_blank_and_empty_csv_is_read_the_same_packed_or_not(
    content: str, rows: list[dict[str, Any]], packed: bool, tmp_path: Path
) -> None:
    data = content.encode()
    path = put(tmp_path, "a.csv.gz", gzip.compress(data)) if packed else put(tmp_path, "a.csv", data)
    assert read(find_source(str(path)), tmp_path) == rows


@pytest.mark.parametrize("delimiter", ["ab", '"', "\n", "\r", "\0"])
def test_what_no_delimiter_can_be_is_refused(delimiter: str, tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", b"a,b\n1,2\n")
    with pytest.raises(UsageError) as error:
        read(find_source(str(path)), tmp_path, delimiter=delimiter)
    assert (error.value.reason_code, error.value.field) == ("bad_argument", "--delimiter")


@pytest.mark.parametrize("delimiter", ["\t", "\\t", "tab"])
def test_a_tab_can_be_written_in_any_shell(delimiter: str, tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", b"a\tb,c\n1\t2\n")
    assert read(find_source(str(path)), tmp_path, delimiter=delimiter) == [{"a": "1", "b,c": "2"}]


@pytest.mark.parametrize("value", [None, "{}", {}, []], ids=["null", "text", "object", "list"])
def test_a_value_of_the_only_column_stays_what_it_is(value: object, tmp_path: Path) -> None:
    [row] = read(Given([{"t": value}]), tmp_path)
    assert row == {"t": value if isinstance(value, str | None) else ("{}" if value == {} else "[]")}


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('[{"json": 1}]', [{"json": 1}]),
        ('{"json": "a"}\n{"json": null}\n', [{"json": "a"}, {"json": None}]),
        ('[{}, {"a": null}]', [{"a": None}, {"a": None}]),
        ('{"a": 1e400}\n{"a": 2}\n', [{"a": "1e400"}, {"a": "2"}]),
    ],
)
def test_odd_json_is_a_table(content: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert read(find_source(str(put(tmp_path, "a.json", content.encode()))), tmp_path) == rows


def test_numbers_that_json_does_not_have_are_floats(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", b'{"a": NaN}\n{"a": 1.5}\n{"a": -Infinity}\n')
    first, *others = [row["a"] for row in read(find_source(str(path)), tmp_path)]
    assert math.isnan(first)
    assert others == [1.5, -math.inf]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("[]", "empty"),
        ("[{}]", "not_a_table"),
        ("{}\n{}\n", "not_a_table"),
        ("[1, 2]", "not_a_table"),
        ('[1, "a"]', "not_a_table"),
        ("[[1]]", "not_a_table"),
        ('"a"', "not_a_table"),
        ('{"a": 1, "a": 2}', "not_a_table"),
        ('{"a": 1', "not_a_table"),
    ],
)
def test_json_that_is_no_table_is_refused(content: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read(find_source(str(put(tmp_path, "a.json", content.encode()))), tmp_path)
    assert error.value.reason_code == code
    assert "Try setting" not in str(error.value)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "select 1 as a; select 2 as a",
        "select 1 as a) ; copy (select 1 as z) to '{out}'; select * from (select 2 as b",
        "copy (select 1) to '{out}'",
        "select 1 as a; copy (select 1) to '{out}'",
        "attach '{out}' as other",
        "export database '{out}'",
        "create table t as select 1",
        "pragma database_list",
        "install httpfs",
        "explain analyze copy (select 1) to '{out}'",
        "select a from",
        "select * from scratch",
        "select nothing from range(3)",
    ],
)
def test_sql_is_one_query_that_writes_nothing(sql: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(UsageError):
        read(query(sql.replace("{out}", str(out))), tmp_path)
    assert not out.exists()


@pytest.mark.parametrize(
    "sql", ["select 1 as a; -- why", "from (values (1)) t(a) ;; ", "with x as (select 1 as a) from x"]
)
def test_a_query_may_end_in_any_way(sql: str, tmp_path: Path) -> None:
    assert read(query(sql), tmp_path) == [{"a": 1}]


def workbook(path: Path, *sheets: tuple[str, str, list[list[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, state, rows in sheets:
        sheet = book.create_sheet(name)
        sheet.sheet_state = state
        for row in rows:
            sheet.append(row)
    book.active = next(at for at, (_, state, _) in enumerate(sheets) if state == "visible")
    book.save(path)
    return path


def test_the_first_visible_sheet_is_read_and_a_hidden_one_by_its_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "b.xlsx", ("Old", "hidden", [["a"], ["x"]]), ("New", "visible", [["a"], ["y"]]))
    assert read(find_source(str(path)), tmp_path) == [{"a": "y"}]
    other = tmp_path / "other"
    other.mkdir()
    assert read(find_source(f"{path}::Old"), other) == [{"a": "x"}]


@pytest.mark.parametrize("names", [["id", "text", "text"], ["Id", "id"]])
def test_columns_of_one_name_lose_nothing_in_a_workbook(names: list[str], tmp_path: Path) -> None:
    path = workbook(tmp_path / "b.xlsx", ("S", "visible", [names, [*range(len(names))]]))
    with pytest.raises(UsageError, match=r"Two columns|differ only"):
        read(find_source(str(path)), tmp_path)


def test_a_damaged_sheet_is_said(tmp_path: Path) -> None:
    path = workbook(tmp_path / "b.xlsx", ("S", "visible", [["a"], ["x"]]))
    damaged = tmp_path / "damaged.xlsx"
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(damaged, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content[: len(content) // 2] if "worksheets/" in name else content)
    with pytest.raises(UsageError, match="cannot be read"):
        read(find_source(str(damaged)), tmp_path)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0.1234567890123456", "0.1234567890123456"),
        ("1e400", "1E+400"),
        ("1.50", "1.5"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_the_prompt_has_nested_numbers_of_any_size(written: str, said: str, tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", f'[{{"a": {{"b": [{written}]}}, "t": "x"}}]'.encode())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    snapshot = take_snapshot(find_source(str(path)), scratch)
    builder = Builder(make_recipe(Asked(prompt="{{ a.b[0] }} {{ a }}")), tuple(snapshot.columns))
    made = make_requests(snapshot, builder, scratch, name="a.json")
    assert f'"{said} {{\\"b\\":[{said}]}}"' in made.path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "{{ xs | map('upper') }}",
        "{{ xs.append }}",
        "{{ range(3) }} {{ xs }}",
        "{{ xs | items }}",
        "{{ cycler('a') }} {{ xs }}",
        "{{ namespace }} {{ xs }}",
        "{{ o.keys() }}",
    ],
)
def test_what_is_no_value_is_never_sent(text: str) -> None:
    template = Templates(["xs", "o"]).compile(text, "--prompt")
    with pytest.raises(RenderError):
        template.render([["a", "b"], {"k": 1}])


@pytest.mark.parametrize(
    "text",
    [
        "{{ lipsum() }} {{ a }}",
        "{{ a | random }}",
        "{% include 'other.txt' %} {{ a }}",
        "{% import 'other.txt' as other %} {{ a }}",
        "{% from 'other.txt' import b %} {{ a }}",
        "{% extends 'other.txt' %} {{ a }}",
        "{{ a }} \udcff",
        "\udcff",
    ],
)
def test_templates_that_give_another_text_each_time_or_read_files_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        Templates(["a"]).compile(text, "--prompt")
    assert error.value.field == "--prompt"


@pytest.mark.parametrize("text", ["a\r\nb\rc\n", "{{ x }}\r\nb\rc\n", "{% if x %}{{ x }}{% endif %}\r\nb\rc\n"])
def test_templates_of_any_form_have_the_same_line_ends(text: str) -> None:
    assert Templates(["x"]).compile(text, "--system").render(["a"]) == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("rows", "output", "inside"),
    [
        ("photos", "photos/out.csv", True),
        ("photos", "photos/deep/../out.csv", True),
        ("photos", "link/out.csv", True),
        ("photos", "photos.csv", False),
        ("photos", "out.csv", False),
        ("photos/a*.csv", "photos/a9.csv", True),
        ("photos/a*.csv", "link/a9.csv", True),
        ("photos/a*.csv", "photos/b.csv", False),
        ("photos/*.csv", "photos/out.parquet", False),
        ("photos/*.csv", "photos/deep/out.csv", False),
        ("**/*.csv", "photos/deep/out.csv", True),
        ("photos/a1.csv", "photos/out.csv", False),
        ("photos/[x].csv", "photos/x.csv", False),
    ],
)
def test_an_output_that_would_be_a_row_the_next_time_is_found(
    rows: str, output: str, inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    put(tmp_path / "photos", "a1.csv", b"a,b\n1,2\n")
    put(tmp_path / "photos", "[x].csv", b"a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert find_source(rows).holds(Path(output), real) is inside
    assert find_source(str(tmp_path / rows)).holds(Path(output), real) is inside
    if not Path(rows).is_dir():
        for quoted in (f"'{rows}'", f'"{tmp_path / rows}"'):
            assert query(f"SELECT a FROM {quoted} WHERE b = 'photos'").holds(Path(output), real) is inside
    if inside:
        with pytest.raises(UsageError) as error:
            check_not_read(TableInput(rows=rows, asked=Asked(prompt="{{ a }}")), Path(output), "--output")
        assert (error.value.reason_code, error.value.field) == ("bad_output", "--output")
