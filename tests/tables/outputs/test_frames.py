"""The joined table in memory: the same values, for pyarrow, pandas and polars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from gemini_batch.errors import StateError, UsageError
from gemini_batch.tables.outputs.arrow import to_arrow, to_pandas, to_polars
from gemini_batch.tables.outputs.cells import Cells
from gemini_batch.tables.outputs.columns import answer_columns
from tables.outputs.tables import from_arrow, write_snapshot
from tables.outputs.test_formats import COLUMNS, cells, expected, same_rows, tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = answer_columns(None, method="generate")


@settings(max_examples=20)
@given(rows=tables)
def test_any_table_as_arrow(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("arrow")
    write_snapshot([source for source, _ in rows], folder / "table.parquet")

    table = to_arrow(folder / "table.parquet", (cells(answer) for _, answer in rows), COLUMNS, folder)

    same_rows(from_arrow(table), expected(rows, ".arrow"))
    assert [path.name for path in folder.iterdir()] == ["table.parquet"]


def test_numbers_stay_whole_next_to_nulls(tmp_path: Path) -> None:
    whole = [2**53 + 1, None]
    pq.write_table(pa.table({"whole": whole}), tmp_path / "table.parquet")
    columns = answer_columns({"type": "object", "properties": {"n": {"type": "integer"}}}, method="generate")
    answers = [Cells([2**53 + 3, "succeeded", None]), Cells(None)]

    table = to_arrow(tmp_path / "table.parquet", answers, columns, tmp_path)
    pandas = to_pandas(tmp_path / "table.parquet", answers, columns, tmp_path)
    polars = to_polars(tmp_path / "table.parquet", answers, columns, tmp_path)

    wanted = {"whole": whole, "n": [2**53 + 3, None], "verdict": ["succeeded", None], "problem": [None, None]}
    assert table.to_pydict() == wanted
    assert polars.to_dict(as_series=False) == wanted
    assert [list(pandas.columns), pandas["whole"][0], pandas["n"][0]] == [list(wanted), 2**53 + 1, 2**53 + 3]
    assert pandas["n"].isna().tolist() == [False, True]
    assert pandas["n"].dtype == "int64[pyarrow]"


def test_an_embedding_is_a_fixed_size_list(tmp_path: Path) -> None:
    columns = answer_columns(None, method="embed", dimensions=2)
    answers = [Cells([[1.0, 2.0], "succeeded", None]), Cells(None)]

    table = to_arrow(None, answers, columns, tmp_path)
    polars = to_polars(None, answers, columns, tmp_path)

    kind = table.schema.field("embedding").type
    assert (kind.list_size, kind.value_type) == (2, pa.float32())
    assert table["embedding"].to_pylist() == [[1.0, 2.0], None]
    assert str(polars.schema["embedding"]) == "Array(Float32, shape=(2,))"
    assert to_pandas(None, answers, columns, tmp_path)["verdict"].tolist()[0] == "succeeded"


@pytest.mark.parametrize(
    ("convert", "missing"),
    [(to_arrow, "pyarrow"), (to_pandas, "pandas"), (to_pandas, "pyarrow"), (to_polars, "polars")],
)
def test_a_library_that_is_missing(
    convert: Callable[..., Any], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(UsageError, match=f"needs the library {missing}") as caught:
        convert(None, [], TEXT, tmp_path)
    assert caught.value.next == f"Run pip install {missing}."


@pytest.mark.parametrize("convert", [to_arrow, to_pandas, to_polars])
def test_as_many_answers_as_rows(convert: Callable[..., Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "table.parquet")

    with pytest.raises(StateError, match="2 rows, but there are answers for 1"):
        convert(tmp_path / "table.parquet", [Cells(None)], TEXT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]
