"""A table as an Excel workbook, for reading; its limits are errors, and nothing is cut off.

A cell holds a number of 15 digits, so longer whole numbers and decimals are text. Dates and times without a zone are
real dates if Excel has them: from 1900 on, to the millisecond. Everything else has the documented form as text. Text is
never a formula. Characters that XML cannot hold are written in Excel's own form, ``_x0001_``, which Excel shows as the
character.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.errors import UsageError
from gemini_batch.tables.extra import needed
from gemini_batch.tables.outputs.texts import FLOATS, WHOLE, as_text, type_id
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.tables.outputs.join import Joined

#: Excel's limits: rows with the header, columns, and characters (UTF-16 code units) in a cell.
ROWS, COLUMNS, CHARACTERS = 1_048_576, 16_384, 32_767
_FETCHED = 512
#: The same table is the same file, so no file says when it was made; this is the first date that a ZIP file can have.
_DATE = datetime(1980, 1, 1)  # noqa: DTZ001 - Excel's dates have no zone
#: The name of the sheet.
_SHEET = "results"
#: Excel keeps 15 digits of a number.
_EXACT = 10**15
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]|_x(?=[0-9A-Fa-f]{4}_)")
#: Excel's calendar has a 29 February 1900; from March on, its days are right.
_FIRST_DAY = date(1900, 3, 1)

_OTHER = "Choose a file that ends in .parquet, .csv or .db."


def check_sheet(rows: int, columns: int) -> None:
    """Refuse a table that a sheet cannot hold. Raises UsageError."""
    if rows + 1 > ROWS:
        raise _too_large(f"The table has {rows:,} rows; a sheet has at most {ROWS - 1:,} below its header.")
    if columns > COLUMNS:
        raise _too_large(f"The table has {columns:,} columns; a sheet has at most {COLUMNS:,}.")


def write_workbook(table: Joined, file: IO[bytes]) -> None:
    """Write one sheet with a header. Raises UsageError, naming the cell, for what a sheet cannot hold, ``OSError``."""
    check_sheet(table.rows, len(table.columns))
    openpyxl = needed("openpyxl", "An Excel file")
    cells, excel = (needed(f"openpyxl.{name}", "An Excel file") for name in ("cell", "writer.excel"))
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title=_SHEET)
    sheet.freeze_panes = "A2"

    def cell_of(text: str, kind: str) -> Any:
        cell = cells.WriteOnlyCell(sheet, text)
        cell.data_type = kind
        return cell

    def shown(value: Any, row: int, column: str) -> Any:
        if isinstance(value, float) and float(f"{value:.16g}") != value:
            return cell_of(repr(value), "n")  # openpyxl writes 16 digits
        if not isinstance(value, str):
            return value
        text = _escaped(value)
        if len(text) > CHARACTERS // 2 and (units := len(text) + sum(sign > "\uffff" for sign in text)) > CHARACTERS:
            where = f"Row {row:,}" if row else "The header"
            raise _too_large(
                f"{where} has {units:,} characters in column {column!r}; a cell of a sheet has at most {CHARACTERS:,}."
            )
        return cell_of(text, "s")  # a text that begins with = is no formula

    try:
        sheet.append([shown(name, 0, name) for name in table.columns])
        written = [_written(kind) for kind in table.types]
        chosen = [select(duck.name(name)) for name, (select, _) in zip(table.columns, written, strict=True)]
        columns = [(name, value) for name, (_, value) in zip(table.columns, written, strict=True)]
        found = table.db.execute(f"SELECT {', '.join(chosen)} FROM ({table.query})")
        numbers = itertools.count(1)
        while rows := found.fetchmany(_FETCHED):
            for number, row in zip(numbers, rows, strict=False):
                sheet.append(
                    [
                        None if got is None else shown(value(got), number, name)
                        for (name, value), got in zip(columns, row, strict=True)
                    ]
                )
        book.properties.created = book.properties.modified = _DATE
        with _Undated(file, "w", zipfile.ZIP_DEFLATED) as archive:
            excel.ExcelWriter(book, archive).save()
    except BaseException:
        _abandon(sheet)
        raise


def _written(kind: Any) -> tuple[Callable[[str], str], Callable[[Any], Any]]:
    """How a column is selected, and how its values become numbers, dates or text."""

    def as_it_is(value: str) -> str:
        return value

    def in_words(value: str) -> str:
        return as_text(value, kind)

    name = type_id(kind)
    if name in WHOLE:
        return as_it_is, lambda number: number if -_EXACT < number < _EXACT else str(number)
    if name in FLOATS:
        return as_it_is, lambda number: _WORDS.get(str(number), number)
    if name == "boolean":
        return as_it_is, bool
    if name in {"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"}:
        return in_words, _date
    return in_words, str


_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _date(text: str) -> Any:
    """A date or time as Excel has it, else its text."""
    try:
        found = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        return text
    if isinstance(found, datetime):
        exact = len(text.partition(".")[2]) <= 3
        return found if exact and found.date() >= _FIRST_DAY else text
    return found if found >= _FIRST_DAY else text


def _escaped(text: str) -> str:
    return _NOT_XML.sub(lambda found: "_x005F_x" if found[0] == "_x" else f"_x{ord(found[0]):04X}_", text)


class _Undated(zipfile.ZipFile):
    """A ZIP file whose members all have the same date."""

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_: Any, **__: Any) -> None:
        """Write a member."""
        super().writestr(zipfile.ZipInfo(zinfo_or_arcname), data, zipfile.ZIP_DEFLATED)

    def write(self, filename: Any, arcname: Any = None, *_: Any, **__: Any) -> None:
        """Write a member that is a copy of a file."""
        member = zipfile.ZipInfo(arcname)
        member.compress_type = zipfile.ZIP_DEFLATED
        with Path(filename).open("rb") as source, self.open(member, "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target)


def _abandon(sheet: Any) -> None:
    """Remove openpyxl's temporary file of rows, which it would keep until the program ends."""
    with contextlib.suppress(Exception):  # it can be closed already
        sheet.close()
    with contextlib.suppress(Exception):
        sheet._writer.cleanup()  # noqa: SLF001 - nothing else removes it


def _too_large(message: str) -> UsageError:
    return UsageError(message, field="--output", code="too_large_for_format", next=_OTHER)
