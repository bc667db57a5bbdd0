"""A CSV file as text: its encoding, its delimiter, its columns. All of its cells are text."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING

from gemini_batch.errors import UsageError
from gemini_batch.stopping import check
from gemini_batch.tables.extra import needed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1024 * 1024
_DELIMITERS = (",", ";", "\t", "|")
_DELIMITER_NAMES = {"\\t": "\t", "tab": "\t"}
_SAMPLED_ROWS = 100
#: Bytes around characters beyond ASCII from which an encoding is guessed.
_SAMPLED_BYTES = 256 * 1024
_AROUND = 200
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: The usual encoding of text that is not Unicode.
_USUAL = "windows-1252"
_LONGEST_CELL = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is read. ``notes``: what was detected and is not the rule, as sentences.

    ``odd``: duckdb reads it in another way than Python: blank lines precede the header, or it has one column.
    """

    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    odd: bool = False


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked. Raises OSError."""
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    unpacked: IO[bytes] = gzip.open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115 - the caller closes it
    return unpacked


def detect(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Dialect:
    """How to read a CSV file; ``encoding`` and ``delimiter`` say what is known. Raises UsageError, OSError."""
    notes = []
    if delimiter:
        delimiter = _DELIMITER_NAMES.get(delimiter, delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise UsageError(
                f"{delimiter!r} is not a delimiter.",
                field="--delimiter",
                code="bad_argument",
                next="Name one character: --delimiter ';'. A tab is written '\\t'.",
            )
    found = encoding or _encoding_of(path)
    try:
        codecs.lookup(found)
        with opened(path) as raw:
            if not delimiter:
                delimiter = _delimiter_of(path, raw, found)
            raw.seek(0)
            sample = list(islice(records(raw, found, delimiter), 1))
            raw.seek(0)
            text = io.TextIOWrapper(raw, found, newline="")
            blank = text.read(1) in {"\r", "\n"}
            text.detach()
    except UnicodeDecodeError as error:
        raise not_encoded(path, found, error) from None
    except LookupError:
        raise UsageError(
            f"Python knows no encoding {encoding!r}.",
            field="--encoding",
            code="bad_argument",
            next="Use utf-8, utf-16, windows-1252 or shift_jis, for example.",
        ) from None
    except csv.Error as error:
        raise bad_csv(path, str(error)) from error
    if not sample:
        raise UsageError("The file has no header.", file=path, code="not_a_table", next="Name the columns in it.")
    if encoding is None and found not in {"utf-8", "utf-8-sig"}:
        notes.append(f"{path.name} is not UTF-8; it is read as {found}. To read it otherwise, use --encoding.")
    if delimiter not in {",", "\t"}:
        notes.append(f"The delimiter of {path.name} is {delimiter!r}.")
    columns, named = _columns(path, sample[0])
    return Dialect(found, delimiter, columns, (*notes, *named), blank or len(columns) == 1)


def bad_csv(path: Path, why: str, row: int | None = None) -> UsageError:
    """The error for a file that is not CSV."""
    return UsageError(
        f"The file is not CSV as gemini-batch reads it: {why}.",
        file=path,
        line=row,
        code="bad_csv",
        next="Fix the row. If the delimiter was detected wrongly, name it: --delimiter ';'",
    )


def not_encoded(path: Path, encoding: str, error: UnicodeDecodeError) -> UsageError:
    """The error for a file that is not in the encoding it is read in."""
    byte = error.object[error.start]
    return UsageError(
        f"The file is not {encoding}: it has the byte 0x{byte:02x} where no character can begin or go on.",
        file=path,
        field="--encoding",
        code="not_a_table",
        next="Name another --encoding, or leave the option out.",
    )


def records(raw: IO[bytes], encoding: str, delimiter: str) -> Iterator[list[str]]:
    """The records of a CSV file, the header included. Raises csv.Error, UnicodeDecodeError.

    A blank line is no record, unless the table has one column: then it is an empty cell.
    """
    csv.field_size_limit(_LONGEST_CELL)
    text = io.TextIOWrapper(raw, encoding=encoding, newline="")
    try:
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        header = next((row for row in rows if row), None)
        if header is not None:
            yield header
            yield from (row or [""] for row in rows) if len(header) == 1 else (row for row in rows if row)
    finally:
        with contextlib.suppress(ValueError):  # the file is closed already
            text.detach()


def _encoding_of(path: Path) -> str:
    with opened(path) as file:
        head = file.read(4)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        file.seek(0)
        decode = codecs.getincrementaldecoder("utf-8")().decode
        try:
            while piece := file.read(_PIECE):
                check()
                decode(piece)
            decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _guessed(file)
    return "utf-8"


def _guessed(file: IO[bytes]) -> str:
    """The encoding of text that is not UTF-8, guessed from what is around its characters beyond ASCII."""
    first = file.read(_PIECE)
    if first[1::2].count(0) > len(first) // 6:
        return "utf-16-le"
    if first[::2].count(0) > len(first) // 6:
        return "utf-16-be"
    sample, at = bytearray(), 0
    piece: bytes | None = first
    while piece and len(sample) < _SAMPLED_BYTES:
        at = 0
        while len(sample) < _SAMPLED_BYTES:
            high = next((i for i in range(at, len(piece)) if piece[i] > 127), None)
            if high is None:
                break
            sample += piece[max(0, high - _AROUND) : high + _AROUND]
            at = high + _AROUND
        piece = file.read(_PIECE)
    best = needed("charset_normalizer", "Detecting an encoding").from_bytes(bytes(sample)).best()
    guess: str = best.encoding if best is not None else _USUAL
    # Encodings of Western text differ in few characters, and the usual one is the likeliest of them.
    return _USUAL if guess in {"ascii", "latin_1", "cp1252", "cp1250", "iso8859_15", "mac_roman"} else guess


def _delimiter_of(path: Path, raw: IO[bytes], encoding: str) -> str:
    """The delimiter with which most of the first rows have as many cells as the header; of several, most columns."""
    if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    best, most = ",", (0.0, 0)
    for candidate in _DELIMITERS:
        raw.seek(0)
        try:
            rows = list(islice(records(raw, encoding, candidate), _SAMPLED_ROWS))
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        score = (sum(len(row) == width for row in rows) / len(rows), width)
        if score > most:
            best, most = candidate, score
    return best


def _columns(path: Path, header: list[str]) -> tuple[tuple[str, ...], list[str]]:
    notes = []
    names = list(header)
    for at, name in enumerate(names):
        if not name.strip():
            names[at] = f"column_{at + 1}"
            notes.append(f"Column {at + 1} of {path.name} has no name; it is called {names[at]}.")
    check_names(names, path)
    return tuple(names), notes


def check_names(names: list[str], file: Path | str | None) -> None:
    """Refuse a table with two columns of one name. Raises UsageError."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.lower())
        if other is not None:
            raise UsageError(
                f"Two columns are called {name!r}."
                if other == name
                else f"The columns {other!r} and {name!r} differ only in upper and lower case.",
                file=file,
                code="not_a_table",
                next="Rename one of them.",
            )
        seen[name.lower()] = name
