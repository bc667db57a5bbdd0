"""A spreadsheet runs nothing that came from a row or from a model."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tables.outputs.cells import Cells
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.outputs.write import write_table
from tables.outputs.tables import texts

if TYPE_CHECKING:
    from pathlib import Path

TEXT = answer_columns(None, method="generate")
DANGEROUS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠1",
    "=",
    '="a,b"',
    "-Infinity",
]
HARMLESS = ["a=1", " =1", "'=1", "", "1-1", "ä", "(-1)"]


def written(tmp_path: Path, values: list[str], ending: str, *, spreadsheet: bool) -> Path:
    """A table with the values as cells of the user and of the model, and with a header that is a formula."""
    table, output = tmp_path / "table.parquet", tmp_path / f"out{ending}"
    pq.write_table(pa.table({"=head()": values, "number": [-1.5] * len(values), "list": [["=1"]] * len(values)}), table)
    write_table(table, [Cells([value, "succeeded", None]) for value in values], TEXT, output, spreadsheet=spreadsheet)
    return output


@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t")])
@given(values=st.lists(st.sampled_from([*DANGEROUS, *HARMLESS]) | texts, min_size=1, max_size=8))
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(
    ending: str, separator: str, values: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    output = written(tmp_path_factory.mktemp("sheet"), values, ending, spreadsheet=True)

    data = output.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator)
    assert header == ["'=head()", "number", "list", "text", "verdict", "problem"]
    dangerous = tuple("=+-@\t\r\n＝＋－＠")
    for value, row in zip(values, rows, strict=True):
        shown = f"'{value}" if value.startswith(dangerous) else value
        assert row == [shown, "-1.5", '["=1"]', shown, "succeeded", ""]


@pytest.mark.parametrize("value", [*DANGEROUS, *HARMLESS])
def test_without_the_option_nothing_is_changed(value: str, tmp_path: Path) -> None:
    data = written(tmp_path, [value], ".csv", spreadsheet=False).read_bytes().decode()

    header, row = csv.reader(io.StringIO(data, newline=""))
    assert (header[0], row[0], row[3]) == ("=head()", value, value)


@pytest.mark.parametrize("value", [*DANGEROUS, *HARMLESS, "#N/A", "#REF!", "{=1}", "https://example.com"])
@pytest.mark.parametrize("spreadsheet", [False, True])
def test_text_in_a_workbook_is_text(value: str, spreadsheet: bool, tmp_path: Path) -> None:
    sheet = openpyxl.load_workbook(written(tmp_path, [value], ".xlsx", spreadsheet=spreadsheet)).active

    assert sheet is not None
    for cell, wanted in ((sheet["A1"], "=head()"), (sheet["A2"], value), (sheet["D2"], value)):
        if wanted:
            text = str(cell.value).replace("_x000D_", "\r")
            assert (cell.data_type in {"s", "inlineStr"}, text, cell.hyperlink) == (True, wanted, None)
