"""The JSON values of a file that is meant to be JSONL: lines, and what else separates objects in such files.

A value that is not JSON comes as it stands, in one line.
"""

from __future__ import annotations

import ast
import io
import re
from collections import deque
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.jsonl import UTF8_BOM, Line
from gemini_batch.validation.fixing import exact
from gemini_batch.validation.fixing.splitting import Splitter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = 64 * 1024
_SPACE = b" \t\r"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
#: A string, or a comma before a closing bracket.
_EXTRA_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*")|,(\s*[}\]])')
_COMMENT = (b"//", b"#")
#: Longer lines are not tried as printed Python objects: Python's own parser takes a hundred times their memory.
_PYTHON = 1024 * 1024


class Row(NamedTuple):
    """One value of a file: the line on which it begins, from 1, its bytes, and what was changed to get them.

    ``data`` is empty for a line that is left out.
    """

    number: int
    data: bytes
    changes: tuple[str, ...] = ()


def rows(source: IO[bytes]) -> Iterator[Row]:
    """The values of a file that is read from its beginning, one by one.

    Raises :class:`LineTooLong` for a value beyond ``jsonl.MAX_LINE``.
    """
    head = source.read(_HEAD)
    source.seek(0)
    begins = head.removeprefix(UTF8_BOM).lstrip()[:1]
    if begins == b"[" or (b"\r" in head.strip() and b"\n" not in head):
        yield from _stream(source)
        return
    lines = _Lines(jsonl.read_lines(source, limit=jsonl.MAX_LINE))
    for line in lines:
        yield from _line(line, lines)


def _stream(source: IO[bytes]) -> Iterator[Row]:
    """The values of a file that is an array, or whose lines end with carriage returns alone."""
    splitter = Splitter(source, limit=jsonl.MAX_LINE)
    for number, data in splitter:
        how = "took the objects out of a JSON array" if splitter.arrays else "replaced carriage returns by line ends"
        fixed, changes = _json(data)
        yield Row(number, fixed, (how, *changes))


class _Lines:
    """Lines that can be put back."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: list[Line]) -> None:
        self._back.extendleft(reversed(lines))


def _line(line: Line, lines: _Lines) -> Iterator[Row]:
    data, changes = _bare(line)
    if not data:
        yield Row(line.number, b"", ("removed empty lines",))
    elif _is_json(data):
        yield Row(line.number, data, changes)
    elif data.startswith(_COMMENT):
        yield Row(line.number, b"", ("removed comments",))
    elif (several := _several(data)) is not None:
        for one in several:
            yield Row(line.number, one.data, (*changes, *one.changes))
    else:
        fixed, more = _json(data)
        if not more and (spread := _spread(line, lines)) is not None:
            fixed, more = spread
            more = ("wrote objects of several lines on one line", *more)
        yield Row(line.number, fixed, (*changes, *more))


def _bare(line: Line) -> tuple[bytes, tuple[str, ...]]:
    """A line without what is around its value."""
    changes = []
    data = line.data
    if data.startswith(UTF8_BOM):
        data = data.removeprefix(UTF8_BOM)
        changes.append("removed byte order marks")
    if data.endswith(b"\r"):
        changes.append("replaced the line ends of Windows")
        data = data.rstrip(b"\r")
    if (bare := data.strip(_SPACE)) != data:
        changes.append("removed white space around objects")
    return bare, tuple(changes)


def _is_json(data: bytes) -> bool:
    try:
        exact.decode(data)
    except ValueError:
        return False
    return True


def _several(data: bytes) -> list[Row] | None:
    """A line of values that are not separated as JSONL is, or None if it is something else."""
    splitter = Splitter(io.BytesIO(data))
    found: list[Row] = []
    for _, piece in splitter:
        fixed, changes = _json(piece)
        if not piece.startswith((b"{", b"[", b'"')) or not _is_json(fixed):
            return None
        found.append(Row(0, fixed, changes))
    how = [f"removed {name}" for name in sorted(splitter.dropped)]
    if len(found) > 1:
        how.append("wrote each object on its own line")
    return [one._replace(changes=(*how, *one.changes)) for one in found] if how and found else None


def _json(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A value on one line, corrected if what it lacks is clear."""
    if not _is_json(data):
        fixed = _EXTRA_COMMA.sub(rb"\1\2", data)
        if fixed != data and _is_json(fixed):
            return _one_line(fixed), ("removed commas before closing brackets",)
        if (printed := _printed(data)) is not None:
            return printed, ("wrote printed Python objects as JSON",)
    return _one_line(data), ()


def _one_line(data: bytes) -> bytes:
    # Inside strings there is none: JSON has no unescaped line ends there.
    return b" ".join(data.split(b"\n")).replace(b"\r", b" ") if b"\n" in data or b"\r" in data else data


def _printed(data: bytes) -> bytes | None:
    """A Python dict as ``print`` shows it, as JSON."""
    if not data.startswith(b"{") or len(data) > _PYTHON:
        return None
    try:
        value: Any = ast.literal_eval(data.decode())
        return exact.encode(value) if type(value) is dict and _is_plain(value) else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _is_plain(value: Any) -> bool:
    """Whether a Python value is one that JSON has, too."""
    if type(value) is dict:
        return all(type(name) is str for name in value) and all(map(_is_plain, value.values()))
    if type(value) is float:
        return value - value == 0
    return all(map(_is_plain, value)) if type(value) is list else value is None or type(value) in (str, int, bool)


def _spread(first: Line, lines: _Lines) -> tuple[bytes, tuple[str, ...]] | None:
    """An object that continues on the next lines, on one line. None, and no line is used, if it is none.

    A line that begins an object at the indentation of the first, or further left, is the next object: then the first
    is cut off.
    """
    indent = _indent(first.data.removeprefix(UTF8_BOM))
    used: list[Line] = []
    kept: list[bytes] = []
    depth = size = 0
    line: Line | None = first
    while line is not None:
        bare = line.data.removeprefix(UTF8_BOM).strip(_SPACE)
        rest = _STRING.sub(b"", bare)
        begins_another = line is not first and bare.startswith(b"{") and _indent(line.data) <= indent
        kept.append(bare)
        size += len(bare)
        depth += rest.count(b"{") + rest.count(b"[") - rest.count(b"}") - rest.count(b"]")
        if line is not first:
            used.append(line)
        if b'"' in rest or begins_another or not kept[0].startswith(b"{") or size > jsonl.MAX_LINE:
            break
        if depth <= 0:
            data, changes = _json(b"\n".join(kept).removesuffix(b","))
            if _is_json(data):
                return data, changes
            break
        line = next(lines, None)
    lines.put_back(used)
    return None


def _indent(data: bytes) -> int:
    return len(data) - len(data.lstrip(b" \t"))
