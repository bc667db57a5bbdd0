"""The joined table in memory, for pyarrow, pandas and polars; nothing is written but the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.tables.extra import needed
from gemini_batch.tables.outputs.join import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from gemini_batch.tables.outputs.cells import Cells
    from gemini_batch.tables.outputs.columns import Column


def to_arrow(snapshot: Path | None, answers: Iterable[Cells], columns: Sequence[Column], temporary: Path) -> pa.Table:
    """The table as a ``pyarrow.Table``; an embedding of known length is a fixed-size list.

    ``temporary``: the folder for the spool. For the rest, and for what it raises, see
    :func:`~gemini_batch.tables.outputs.write.write_table`. Raises UsageError if pyarrow is not installed.
    """
    needed("pyarrow", "An Arrow table", "pyarrow")
    with joined(snapshot, answers, columns, temporary / "table") as found:
        table: pa.Table = found.db.sql(found.query).to_arrow_table()
        return table


def to_pandas(
    snapshot: Path | None, answers: Iterable[Cells], columns: Sequence[Column], temporary: Path
) -> pd.DataFrame:
    """The table as a ``pandas.DataFrame`` whose columns have Arrow types: whole numbers stay whole next to nulls.

    Raises UsageError if pandas or pyarrow is not installed.
    """
    pandas = needed("pandas", "A DataFrame of pandas", "pandas")
    frame: pd.DataFrame = to_arrow(snapshot, answers, columns, temporary).to_pandas(types_mapper=pandas.ArrowDtype)
    return frame


def to_polars(
    snapshot: Path | None, answers: Iterable[Cells], columns: Sequence[Column], temporary: Path
) -> pl.DataFrame:
    """The table as a ``polars.DataFrame``; pyarrow is not needed. Raises UsageError if polars is not installed."""
    polars = needed("polars", "A DataFrame of polars", "polars")
    with joined(snapshot, answers, columns, temporary / "table") as found:
        source: Any = found.db.sql(found.query)
        frame: pl.DataFrame = polars.DataFrame(source)
        return frame
