"""Reads objects of a service that may send anything: what cannot be read costs itself only."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import msgspec

from gemini_batch.jsonl import decode_as, repair

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Number = int | float | str | None


_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))"
)


#: Larger counts are not counts; they would not fit into the ledger.
_MOST = 10**15
#: Seconds since 1970 that a calendar can show: years up to 9999.
_LAST_TIME = 253_402_300_799.0


def to_int(value: Number) -> int:
    """A count as the service may send it (``"12"``, ``12``, ``12.0``, absent) as an int; anything else counts as 0."""
    try:
        count = int(value or 0)
    except (ValueError, OverflowError):
        return 0
    return count if 0 <= count <= _MOST else 0


def to_time(value: str | None) -> float | None:
    """An RFC 3339 time with any number of fractional digits, as seconds since 1970; None for anything else.

    Times before 1970 and after the year 9999 are none: not every calendar shows them.
    """
    found = _TIME.fullmatch(value or "")
    if found is None:
        return None
    moment, fraction, offset = found.groups()
    try:
        whole = dt.datetime.fromisoformat(moment + (offset or "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
    seconds = whole + float(f"0.{fraction or 0}")
    return seconds if 0 <= seconds < _LAST_TIME else None


def cleaned(value: T, clean: Callable[[str], str]) -> T:
    """The same value, with ``clean`` applied to every string in it; an object is changed in place."""
    safe: Any = value
    if isinstance(value, str):
        safe = clean(value)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            setattr(value, name, cleaned(getattr(value, name), clean))
    elif isinstance(value, list):
        safe = [cleaned(item, clean) for item in value]
    elif isinstance(value, dict):
        safe = {clean(str(name)): cleaned(item, clean) for name, item in value.items()}
    return safe  # type: ignore[no-any-return]


def read_loosely(data: bytes, kind: type[T], *, strict: bool = False) -> T | None:
    """Decode a JSON object of which ``decode_as`` makes nothing: fields of other types count as absent.

    ``strict``: values that are not JSON are repaired, and no field may have another type. None if it is no such object.
    """
    mended = repair(_shallow(data.decode("utf-8", "replace").encode()))
    if mended is None:
        return None
    try:
        return decode_as(mended, kind)
    except (msgspec.DecodeError, RecursionError):
        return None if strict else _fields_of(mended, kind)


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
#: No object of the service is nested as deeply; a decoder gives up somewhere beyond.
_DEEPEST = 200


def _shallow(data: bytes) -> bytes:
    """The same JSON with null in place of what is nested too deeply for any decoder."""
    pieces, kept, depth = list[bytes](), 0, 0
    for token in _TOKEN.finditer(data):
        if token[0] in {b"[", b"{"}:
            depth += 1
            if depth == _DEEPEST + 1:
                pieces.append(data[kept : token.start()])
        elif token[0] in {b"]", b"}"}:
            if depth == _DEEPEST + 1:
                pieces.append(b"null")
                kept = token.end()
            depth -= 1
    return b"".join([*pieces, data[kept:]])


def _fields_of(data: bytes | msgspec.Raw, kind: Any) -> Any:
    try:
        fields = decode_as(data, dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    values = {}
    for field in msgspec.structs.fields(kind):
        raw = fields.get(field.encode_name)
        if raw is None:
            continue
        try:
            values[field.name] = decode_as(raw, field.type)
        except (msgspec.DecodeError, RecursionError):
            inner = _object_in(field.type)
            found = None if inner is None else _fields_of(raw, inner)
            if found is not None:
                values[field.name] = found
            elif inner is not None and field.required:
                values[field.name] = inner()
    return kind(**values)


def _object_in(kind: Any) -> Any:
    """The object in the type of an optional field; None if it holds another kind of value."""
    kinds = (kind, *get_args(kind))
    return next((one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)
