"""The input of a job as rows that the engine serves.

An input line is ``{"request": …}``; what else it has is kept, for the output. A row is that request, with the whole
line as its metadata. So the engine hands the line back with the answer, whatever faults do to the order, and no row
needs to be looked up. The key that faults see is the line's ``key``, its request's only label, or else its number.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages.errors import ApiFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gemini_batch.emulator.state.models import Kind
    from gemini_batch.emulator.vertex.names import Object
    from gemini_batch.emulator.vertex.storage.objects import Objects
    from gemini_batch.emulator.vertex.tables import Place, Tables

#: The most rows and bytes of a job. (Vertex AI, batch prediction: 200,000 requests, 1 GB; 1,000,000 embeddings.)
MOST_ROWS: dict[Kind, int] = {"generate": 200_000, "embed": 1_000_000}
MOST_BYTES = 1 << 30
#: The most partial failures that a job shows.
_SHOWN = 20


class Unreadable(Exception):
    """Why a job cannot run: a gRPC code and a message. It is created, and fails."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Staged(NamedTuple):
    """What was staged: the number of rows, and what could not be read of the input."""

    rows: int
    failures: list[dict[str, Any]]


class _Request(msgspec.Struct, gc=False):
    labels: Any = None


class _Line(msgspec.Struct, gc=False):
    request: msgspec.Raw = msgspec.Raw()
    key: Any = None


_line, _request = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_Request)


def from_objects(objects: Objects, places: Sequence[Object], target: IO[bytes], kind: Kind) -> Staged:
    """Stage the lines of objects; ``*`` in a name stands for any characters. Raises :class:`Unreadable`."""
    found, failures, size = [], list[dict[str, Any]](), 0
    for place in places:
        try:
            if "*" in place.name:
                rows = [
                    row
                    for row in objects.names(place.bucket, place.name.partition("*")[0])
                    if fnmatchcase(row["name"], place.name)
                ]
            else:
                row = objects.find(place.bucket, place.name)
                rows = [] if row is None else [row]
        except ApiFailure:
            rows = []
        if not rows:
            failures.append({"code": 5, "message": f"The input {place.uri} was not found."})
        found += rows
        size += sum(row["size"] for row in rows)
    if not found:
        raise Unreadable(5, failures[0]["message"])
    if size > MOST_BYTES:
        raise Unreadable(3, f"The input has {size} bytes; a job can have {MOST_BYTES}.")
    count = 0
    for row in found:
        with objects.open(row) as source:
            lines = ((line.number, line.data) for line in jsonl.read_lines(source))
            try:
                count = _stage(lines, target, kind, f"gs://{row['bucket']}/{row['name']}", count)
            except jsonl.LineTooLong as error:
                raise Unreadable(3, f"gs://{row['bucket']}/{row['name']}: line {error.number} is too long.") from None
    return _counted(count, failures)


def from_table(tables: Tables, place: Place, target: IO[bytes], kind: Kind) -> Staged:
    """Stage the rows of a table; its column ``request`` holds a record, or JSON as text. Raises :class:`Unreadable`."""
    try:
        row = tables.get(place)
    except ApiFailure as failure:
        raise Unreadable(5, failure.message) from None
    if row["size"] > MOST_BYTES:
        raise Unreadable(3, f"The table has {row['size']} bytes; a job can have {MOST_BYTES}.")
    lines = ((number, _as_line(one)) for number, (_, one) in enumerate(tables.read(row), 1))
    return _counted(_stage(lines, target, kind, "bq://" + ".".join(place), 0), [])


def _as_line(row: dict[str, Any]) -> bytes:
    request = row.get("request")
    if isinstance(request, str):
        try:
            request = jsonl.decode(request.encode())
        except jsonl.NotJson:
            return b"{"
    return jsonl.encode({**row, "request": request})


def _counted(count: int, failures: list[dict[str, Any]]) -> Staged:
    if not count:
        raise Unreadable(3, "The input has no requests.")
    return Staged(count, failures[:_SHOWN])


def _stage(lines: Iterable[tuple[int, bytes]], target: IO[bytes], kind: Kind, source: str, count: int) -> int:
    """Write the lines as rows after ``count`` others; returns how many there are then."""
    most = MOST_ROWS[kind]
    for number, data in _not_blank(lines):
        try:
            line = _line.decode(data)
            request = bytes(line.request)
            if not request.startswith(b"{"):
                raise Unreadable(3, f"{source}: line {number} has no object 'request'.")
            key = _key(line.key, request) or str(number)
            data.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(3, f"{source}: line {number} cannot be read: {error}") from None
        count += 1
        if count > most:
            raise Unreadable(3, f"The input has more than {most} requests.")
        metadata = b'{"key":%s,"line":%s}' % (jsonl.encode(key), data)
        target.write(b'{"request":%s,"metadata":%s}\n' % (request, metadata))
    return count


def _not_blank(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for number, data in lines:
        if stripped := data.strip():
            yield number, stripped


def _key(key: Any, request: bytes) -> str:
    if isinstance(key, str) and key:
        return key
    labels = _request.decode(request).labels
    values = list(labels.values()) if isinstance(labels, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
