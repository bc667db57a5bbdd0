"""The rows of an Excel sheet."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import UsageError
from gemini_batch.tables.extra import needed
from gemini_batch.tables.sources.csv_text import check_names
from gemini_batch.tables.sources.source import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: How a sheet writes a character that XML cannot hold; half of a surrogate pair is none.
_ESCAPED = re.compile("_x(?![dD][89A-Fa-f])([0-9A-Fa-f]{4})_")


def read_sheet(path: Path, sheet: str | None) -> Iterator[dict[str, object]]:
    """The rows of a sheet below its header, empty rows left out. Raises UsageError.

    ``sheet``: its name; by default, the first visible one.
    """
    try:
        book = needed("openpyxl", "Reading an Excel file").load_workbook(path, read_only=True, data_only=True)
        with contextlib.closing(book):
            yield from _sheet(book, path, sheet)
    except UsageError:
        raise
    except Exception as error:  # whatever a damaged archive makes of openpyxl and of the readers of ZIP and XML
        raise UsageError(
            f"The workbook cannot be read: {str(error).rstrip('.')}.",
            file=path,
            code="not_a_table",
            next="Save it again as .xlsx, without a password.",
        ) from error


def _sheet(book: Any, path: Path, name: str | None) -> Iterator[dict[str, object]]:
    sheets = {one.title: one for one in book.worksheets}
    if name is None:
        name = next((title for title, one in sheets.items() if one.sheet_state == "visible"), None)
    if name is None or name not in sheets:
        raise UsageError(
            f"The workbook has no {'visible sheet' if name is None else f'sheet {name!r}'}. "
            f"It has: {', '.join([*sheets][:20]) or 'none'}.",
            file=path,
            code="not_a_table",
            next=f"Name one of them: {part_of(path, name, [*sheets])}" if sheets else "Name another file.",
        )
    empty = True
    for row in _rows(sheets[name], path):
        empty = False
        yield row
    if empty:
        raise _no_rows(path, name, [*sheets])


def _no_rows(path: Path, sheet: str, names: Sequence[str]) -> UsageError:
    others = [name for name in names if name != sheet]
    return UsageError(
        f"The sheet {sheet!r} has no rows below a header.",
        file=path,
        code="empty",
        next=f"Other sheets: {', '.join(others[:20])}. Name one of them: {part_of(path, None, others)}"
        if others
        else "Give a sheet that has rows.",
    )


def _rows(sheet: Any, path: Path) -> Iterator[dict[str, object]]:
    sheet.reset_dimensions()
    rows = (
        [_unescaped(cell) if isinstance(cell, str) and "_x" in cell else cell for cell in row]
        for row in sheet.iter_rows(values_only=True)
    )
    header: list[str] = []
    for row in rows:
        if any(cell is not None for cell in row):
            header = [str(cell).strip() if cell is not None else f"column_{at}" for at, cell in enumerate(row, 1)]
            break
    while header and header[-1] == f"column_{len(header)}":
        header.pop()
    check_names(header, path)
    for row in rows:
        if any(cell is not None for cell in row):
            beyond = next((at for at in range(len(header), len(row)) if row[at] is not None), None)
            if beyond is not None:
                raise UsageError(
                    f"A row has a value in column {beyond + 1}, and the header names {_columns(len(header))}.",
                    file=path,
                    code="not_a_table",
                    next="Name the column in the first row, or remove the value.",
                )
            yield dict(zip(header, row[: len(header)], strict=False)) | dict.fromkeys(header[len(row) :])


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
