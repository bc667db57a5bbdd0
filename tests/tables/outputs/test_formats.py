"""Any value through every format: another reader finds it, on its own row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_batch.tables.outputs.cells import Cells, Filler
from gemini_batch.tables.outputs.columns import KEY, answer_columns
from gemini_batch.tables.outputs.write import ENDINGS, write_table
from tables.outputs.tables import ANSWER, READERS, SCHEMA, SOURCE, rows_of, same, texts, write_snapshot

if TYPE_CHECKING:
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


def expected(source: dict[str, Any], answer: Any, ending: str) -> dict[str, Any]:
    values = dict.fromkeys([*ANSWER, "media", "verdict", "problem"])
    if answer is not None:
        values |= {**answer[0], "media": answer[1], "verdict": "succeeded", "problem": answer[2]}
    if ending != ".parquet" and values["media"] is not None:
        values["media"] = json.dumps(values["media"], ensure_ascii=False, separators=(",", ":"))
    row = source | values
    if ending == ".ndjson":
        row["media"] = None if answer is None else answer[1]
    if ending == ".xlsx":  # a sheet has no empty text
        row = {name: None if value == "" else value for name, value in row.items()}
    return row


def same_rows(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert list(one) == list(other)
        for name in one:
            assert same(one[name], other[name]), (name, one[name], other[name])


@pytest.mark.parametrize("ending", READERS)
@settings(max_examples=30)
@given(rows=tables)
def test_any_table_through_every_format(ending: str, rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("k=v [x]*")
    write_snapshot([source for source, _ in rows], folder / "table.parquet")
    output = folder / f"out{ending}"

    count = write_table(folder / "table.parquet", (cells(answer) for _, answer in rows), COLUMNS, output)

    assert count == len(rows)
    same_rows(READERS[ending](output), [expected(source, answer, ending) for source, answer in rows])
    assert {path.name for path in folder.iterdir()} == {"table.parquet", output.name}


def test_every_format_has_a_reader_here() -> None:
    assert set(ENDINGS) - {".sqlite"} == set(READERS)
