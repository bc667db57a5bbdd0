"""Any value through every format: another reader finds it, on its own row."""

from __future__ import annotations

import json
from itertools import dropwhile
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


def expected(rows: list[Any], ending: str) -> list[dict[str, Any]]:
    """What a reader must find, where the format is not less than the table: see docs/tables.md."""
    wanted = []
    for source, answer in rows:
        values = dict.fromkeys([*ANSWER, "media", "verdict", "problem"])
        if answer is not None:
            values |= {**answer[0], "media": answer[1], "verdict": "succeeded", "problem": answer[2]}
        row = {name: source[name] for name in SOURCE} | values
        if ending == ".xlsx":  # a sheet has no empty text
            row = {name: None if value in ("", b"") else value for name, value in row.items()}
        if ending in {".db", ".xlsx"} and row["float"] == 0:  # they have one zero
            row["float"] = 0.0
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


@pytest.mark.parametrize("ending", READERS)
@settings(max_examples=30)
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
    assert set(ENDINGS) - {".sqlite"} == set(READERS)
