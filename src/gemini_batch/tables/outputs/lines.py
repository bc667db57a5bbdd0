r"""Tables as lines of text: CSV, TSV and JSON lines.

CSV is that of RFC 4180, in UTF-8, with ``\n``: a field is quoted if it holds a separator, a quote or a line end. Null
is an empty field and the empty text is ``""``, so they differ.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import msgspec

from gemini_batch.jsonl import UTF8_BOM
from gemini_batch.tables.outputs.texts import PLAIN, as_json, as_text, type_id
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from gemini_batch.tables.outputs.join import Joined

#: Rows that are fetched at a time.
_ROWS = 1024
#: What makes a spreadsheet run the text of a cell, or lets it see one where another begins.
_FORMULA = "=+-@\t\r\n＝＋－＠"


def write_csv(table: Joined, file: IO[bytes], *, separator: str = ",", spreadsheet: bool = False) -> None:
    """Write a header and one record for each row.

    ``spreadsheet``: begin with a byte order mark, and put an apostrophe before text that a spreadsheet would run.
    """
    # Four searches for one sign each are faster than a pattern.
    special = " OR ".join(f"contains({{0}}, {duck.text(sign)})" for sign in (separator, '"', "\n", "\r"))
    names = [harmless(name) if spreadsheet else name for name in table.columns]
    file.write(UTF8_BOM if spreadsheet else b"")
    file.write(separator.join(_field(name, separator) for name in names).encode() + b"\n")
    texts, fields = [], []
    for at, (name, kind) in enumerate(zip(table.columns, table.types, strict=True)):
        text, field = as_text(duck.name(name), kind), f"t{at}"
        if type_id(kind) in PLAIN:
            fields.append(f"coalesce({field}, '')")
        else:
            if spreadsheet:
                text = f"regexp_replace({text}, {duck.text(f'^[{_pattern(_FORMULA)}]')}, '''\\0')"
            fields.append(
                f"CASE WHEN {field} IS NULL THEN '' WHEN {field} = '' OR {special.format(field)} "
                f"THEN '\"' || replace({field}, '\"', '\"\"') || '\"' ELSE {field} END"
            )
        texts.append(f"{text} AS {field}")
    line = f"concat_ws({duck.text(separator)}, {', '.join(fields)})"  # one copy, and not one for each field
    _write(table, f"SELECT {line} FROM (SELECT {', '.join(texts)} FROM ({table.query}))", file)


def write_ndjson(table: Joined, file: IO[bytes]) -> None:
    """Write each row as a JSON object on a line of its own, with all columns in their order."""
    members: list[str] = []
    for name, kind in zip(table.columns, table.types, strict=True):
        before = f"{',' if members else '{'}{msgspec.json.encode(name).decode()}:"
        members.append(f"{duck.text(before)}, coalesce({as_json(duck.name(name), kind)}, 'null')")
    _write(table, f"SELECT concat({', '.join(members)}, '}}') FROM ({table.query})", file)


def _write(table: Joined, query: str, file: IO[bytes]) -> None:
    found = table.db.execute(query)
    while rows := found.fetchmany(min(_ROWS, table.group)):
        file.write("".join([f"{line}\n" for (line,) in rows]).encode())


def _field(text: str, separator: str) -> str:
    if not text or any(sign in text for sign in (separator, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text


def harmless(text: str) -> str:
    """The text with an apostrophe before it if a spreadsheet would run it."""
    return f"'{text}" if text[:1] and text[0] in _FORMULA else text


def _pattern(signs: str) -> str:
    return signs.replace("-", "\\-")
