"""The rows of an Excel sheet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import UsageError
from gemini_batch.tables.extra import needed
from gemini_batch.tables.sources.source import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: How a sheet writes a character that XML cannot hold; half of a surrogate pair is none.
_ESCAPED = re.compile("_x(?![dD][89A-Fa-f])([0-9A-Fa-f]{4})_")


def read_sheet(path: Path, sheet: str | None) -> Iterator[dict[str, object]]:
    """The rows of a sheet below its header, empty rows left out; by default, of the first sheet. Raises UsageError."""
    try:
        book = needed("openpyxl", "Reading an Excel file").load_workbook(path, read_only=True, data_only=True)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"The workbook cannot be read: {error}.",
            file=path,
            code="not_a_table",
            next="Save it again as .xlsx, without a password.",
        ) from error
    try:
        if sheet is not None and sheet not in book.sheetnames:
            names = ", ".join(book.sheetnames[:20])
            raise UsageError(
                f"The workbook has no sheet {sheet!r}. It has: {names}.",
                file=path,
                code="not_a_table",
                next=f"Name one of them: {part_of(path, sheet, book.sheetnames)}",
            )
        empty = True
        for row in _rows(book[sheet] if sheet is not None else book.worksheets[0], path):
            empty = False
            yield row
        if empty:
            raise _no_rows(path, sheet, book.sheetnames)
    finally:
        book.close()


def _no_rows(path: Path, sheet: str | None, names: Sequence[str]) -> UsageError:
    others = [name for name in names if name != (sheet or names[0])]
    return UsageError(
        f"The sheet {sheet or names[0]!r} has no rows below a header.",
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
    for row in rows:
        if any(cell is not None for cell in row):
            beyond = next((at for at in range(len(header), len(row)) if row[at] is not None), None)
            if beyond is not None:
                raise UsageError(
                    f"A row has a value in column {beyond + 1}, and the header names {len(header)} columns.",
                    file=path,
                    code="not_a_table",
                    next="Name the column in the first row, or remove the value.",
                )
            yield dict(zip(header, row[: len(header)], strict=False)) | dict.fromkeys(header[len(row) :])


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
