"""A table in any format through a run to every format: each value as it was, on its row, with the answer of that row.

The answers are those of the emulator, which repeat the beginning of the prompt. ``PROPERTY_EXAMPLES`` tries more.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gemini_batch
from tables.inputs import FORMS, Form
from tables.outputs.tables import READERS, from_arrow, same, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What a format of the output cannot say of a value; see "Values in each format" in docs/tables.md.
CHANGES: dict[str, Callable[[Any], Any]] = {
    ".parquet": lambda value: value,
    ".csv": lambda value: value,
    ".tsv": lambda value: value,
    ".ndjson": lambda value: value,
    ".db": lambda value: 0.0 if isinstance(value, float) and value == 0 else value,
    ".xlsx": lambda value: None if value in ("", b"") else 0.0 if isinstance(value, float) and value == 0 else value,
}
_MARK = re.compile(r"#(\d+)#")


class Asked(NamedTuple):
    """What is asked of each row, and which rows have nothing to be asked."""

    prompt: str
    options: dict[str, Any] = {}  # noqa: RUF012 - it is not changed


#: ``mark`` is what the answer repeats. A row is skipped if its ``ask`` is empty.
TEMPLATES = {
    "plain": Asked("{{ ask }}"),
    "an instruction": Asked("Say '{{ ask }}'", {"system": "Be {% if group == 'a' %}kind{% else %}brief{% endif %}."}),
    "a filter": Asked("{{ ask | trim | upper }}"),
    "a condition": Asked("{% if ask %}{{ ask }}{% if 'x' in ask %} x{% endif %}{% endif %}"),
    "numbered keys": Asked("{{ ask }}", {"key": "group", "key_duplicates": "number"}),
    "keys of two columns": Asked("{{ ask }}", {"key": ["group", "mark"]}),
    "keys of the rows": Asked("{{ ask }}", {"key": "mark"}),
}


@st.composite
def tables(draw: st.DrawFn, form: Form) -> list[dict[str, Any]]:
    """Rows of a table. In the first one nothing is missing, so that the format tells the type of each column."""
    names = draw(st.permutations(list(form.columns)))
    count = draw(st.integers(1, 5))
    # Rows with the same mark have the same request.
    marks = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count) | st.just(list(range(count))))
    rows = []
    for at in range(count):
        row: dict[str, Any] = {"mark": f"{draw(texts)}{at}", "group": draw(st.sampled_from(["a", "b", "ä|\n", "=1"]))}
        row["ask"] = draw(st.none() | st.just("") | texts.map(f"#{marks[at]}# {{}}".format)) if at else "#0# first"
        for name in names:
            values = form.columns[name]
            row[name] = draw(values if at == 0 else st.none() | values)
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_BATCH_HOME", str(tmp_path_factory.mktemp("home")))
        with gemini_batch.GeminiBatch(offline=True) as made:
            yield made


def _is_empty(value: str | None) -> bool:
    return value is None or not value.strip()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FORMS)
@settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "8")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_any_table_in_and_out(
    name: str, data: st.DataObject, batch: gemini_batch.GeminiBatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    form, folder = FORMS[name], tmp_path_factory.mktemp("t")
    rows = data.draw(tables(form))
    asked = TEMPLATES[data.draw(st.sampled_from(sorted(TEMPLATES)))]

    found = batch.run(
        form.write(rows, folder), prompt=asked.prompt, output=folder / "out.parquet", prefix="ai", **asked.options
    )

    given_rows = [{column: form.says(value) for column, value in row.items()} for row in rows]
    assert [line["verdict"] for line in found] == [_verdict(row) for row in rows]
    _check_keys([line["key"] for line in found], rows, asked)
    for ending, read in READERS.items():
        found.write(folder / f"out{ending}")
        _check(read(folder / f"out{ending}"), given_rows, CHANGES[ending], ending)
    _check(from_arrow(found.to_arrow()), given_rows, CHANGES[".parquet"], "to_arrow")


def _verdict(row: dict[str, Any]) -> str:
    return "skipped" if _is_empty(row["ask"]) else "succeeded"


def _check_keys(keys: list[str], rows: list[dict[str, Any]], asked: Asked) -> None:
    assert len(set(keys)) == len(rows)
    for key, row in zip(keys, rows, strict=True):
        match asked.options.get("key"):
            case "mark":
                assert key == row["mark"]
            case ["group", "mark"]:
                assert key == f"{row['group']}|{row['mark']}"
            case "group":
                assert key.startswith(row["group"])
            case _:
                pass


def _check(found: list[dict[str, Any]], rows: list[dict[str, Any]], changes: Callable[[Any], Any], where: str) -> None:
    """Every row once, in order, each value as it was, and the answer to what was asked of this row."""
    assert len(found) == len(rows), where
    for got, row in zip(found, rows, strict=True):
        assert list(got) == [*row, "ai_text", "ai_verdict", "ai_problem"], where
        for column, value in row.items():
            assert same(got[column], changes(value)), (where, column, got[column], value)
        assert got["ai_verdict"] == _verdict(row), where
        if got["ai_verdict"] == "skipped":
            assert got["ai_text"] is None
            assert "`ask`" in got["ai_problem"]
        else:
            assert got["ai_problem"] is None
            assert _MARK.findall(row["ask"])[:1] == _MARK.findall(got["ai_text"])[:1] != [], where


@pytest.mark.parametrize("name", FORMS)
def test_very_long_text(name: str, batch: gemini_batch.GeminiBatch, tmp_path: Path) -> None:
    """In the prompt, and in a column that it does not use: longer than a line of CSV that duckdb reads."""
    form = FORMS[name]
    long = 'a"é\n' * (8_000 if name == "Excel" else 2_500_000)
    column = next(column for column in form.columns if column in {"text", "first"})
    rows: list[dict[str, Any]] = [
        {"mark": str(at), "group": "a", "ask": f"#{at}# {long if at == 1 else ''}"}
        | dict.fromkeys(form.columns)
        | {column: long if at == 2 else "x"}
        for at in range(3)
    ]

    found = batch.run(form.write(rows, tmp_path), prompt="{{ ask }}", output=tmp_path / "out.parquet", prefix="ai")

    made = found.to_arrow().to_pylist()
    assert [(row["ask"], row[column]) for row in made] == [(row["ask"], row[column]) for row in rows]
    assert [_MARK.findall(row["ai_text"]) for row in made] == [["0"], ["1"], ["2"]]


def test_folders_and_files_with_equals_signs_add_no_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the state folder nor the folder of a file that is named is a part of its table."""
    folder = tmp_path / "year=2026"
    folder.mkdir()
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(folder / "home"))
    with gemini_batch.GeminiBatch(offline=True) as batch:
        for name in FORMS:
            rows = [{"mark": "a", "group": "b", "ask": "#0# x", **dict.fromkeys(FORMS[name].columns)}]
            (folder / "in.db").unlink(missing_ok=True)
            found = batch.run(FORMS[name].write(rows, folder), prompt="{{ ask }}", prefix="ai")

            assert found.to_arrow().column_names == [*rows[0], "ai_text", "ai_verdict", "ai_problem"], name
            (folder / "in.db").unlink(missing_ok=True)
            with pytest.raises(gemini_batch.UsageError, match="no column `year`"):
                batch.run(FORMS[name].write(rows, folder), prompt="{{ ask }} {{ year }}")


ELSEWHERE = """
import datetime as dt, pathlib, sys
import gemini_batch
at = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
row = {"ask": "Hi", "zoned": at, "plain": at.replace(tzinfo=None)}
with gemini_batch.GeminiBatch(offline=True) as batch:
    batch.run([row], prompt="{{ zoned }} {{ plain }}", output=pathlib.Path(sys.argv[1]) / "out.csv")
"""


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_times_do_not_depend_on_where_the_computer_is(zone: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TZ": zone}
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path], env=environment, check=True, timeout=60)

    (row,) = READERS[".csv"](tmp_path / "out.csv")
    assert row["zoned"] == dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    assert row["plain"] == "2026-07-01 12:00:00"
    assert "2026-07-01T12:00:00+00:00 2026-07-01T12:00:00" in row["text"]
