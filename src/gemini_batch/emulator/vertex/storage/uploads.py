"""Uploads to Cloud Storage: the bytes alone, with their description in two parts, and resumable sessions.

Of a chunk that is not the last, whole multiples of 256 KiB are kept, as at the service; the answer says how much that
is. A session ends after a week, and is gone (410) once it was cancelled.
"""

from __future__ import annotations

import json
import re
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from gemini_batch.emulator.messages.calls import Reply
from gemini_batch.emulator.state.clock import DAY
from gemini_batch.emulator.state.files import new_id
from gemini_batch.emulator.vertex.storage import failures
from gemini_batch.emulator.vertex.storage.bodies import Described, Short
from gemini_batch.emulator.vertex.storage.checksums import Checksums
from gemini_batch.emulator.vertex.storage.objects import Conditions, checked, pieces, shown
from gemini_batch.jsonl import private_open

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_batch.emulator.messages.calls import Call, Receiver
    from gemini_batch.emulator.vertex.storage.objects import Objects

LIFE = 7 * DAY
GRAIN = 256 * 1024
_RANGE = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)")


#: The name of all calls of uploads in the table of paths; :func:`operation` tells them apart.
ANY = "storage.upload"
_START, _WHOLE = "storage.uploads.start", "storage.objects.insert"
_CHUNK, _QUERY, _CANCEL = "storage.uploads.chunk", "storage.uploads.query", "storage.uploads.cancel"
#: The operations whose bodies are received as they arrive.
RECEIVED = frozenset({_START, _WHOLE, _CHUNK, _QUERY, _CANCEL})


def operation(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The name of an upload's call."""
    if "upload_id" not in query:
        return _START if query.get("uploadType") == "resumable" else _WHOLE
    if method == "DELETE":
        return _CANCEL
    return _QUERY if headers.get("content-range", "").startswith("bytes */") else _CHUNK


def receiver(objects: Objects, call: Call) -> Receiver:
    """What takes the body of an upload's call. Raises :class:`errors.ApiFailure`."""
    if "upload_id" in call.query:
        session = _session(objects, call)
        return _Cancel(objects, call, session) if call.operation == _CANCEL else _Chunk(objects, call, session)
    objects.bucket(call.names["bucket"])
    match call.query.get("uploadType"):
        case "media":
            return _Media(objects, call)
        case "multipart":
            return _Multipart(objects, call)
        case "resumable":
            return _Start(objects, call)
        case other:
            raise failures.invalid(f"Invalid uploadType: {other}")


class _Small(Short):
    """A body that is kept in memory, because it is short."""

    def __init__(self, objects: Objects, call: Call) -> None:
        super().__init__(call)
        self._objects = objects

    def broken(self) -> None:
        """Nothing was begun."""

    def close(self) -> None:
        """Nothing is open."""


class _Bytes:
    """The bytes of one object, on their way to the disk."""

    def __init__(self, objects: Objects, call: Call) -> None:
        self._objects = objects
        self._call = call
        self._blob = objects.new_blob()
        self._file = private_open(objects.path(self._blob), "xb")
        self._sums = Checksums()
        self._kept = False

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._sums.update(piece)

    def store(self, given: Mapping[str, Any]) -> Reply:
        self._file.close()
        _check_sums(self._sums, {"md5": given.get("md5Hash"), "crc32c": given.get("crc32c")})
        row = self._objects.put(
            self._call.names["bucket"],
            str(given.get("name") or self._call.query.get("name") or ""),
            self._blob,
            self._sums,
            given=given,
            conditions=Conditions.of(self._call.query),
        )
        self._kept = True
        return Reply.json(shown(row, self._call.base))

    def broken(self) -> None:
        """There is no address at which to continue."""

    def close(self) -> None:
        self._file.close()
        if not self._kept:
            self._objects.path(self._blob).unlink(missing_ok=True)


class _Media(_Bytes):
    """The body is the object."""

    def answer(self) -> Reply:
        kind = self._call.headers.get("content-type", "")
        return self.store({"contentType": kind} if kind else {})


class _Multipart(_Bytes):
    """The body has two parts: the description as JSON, then the object."""

    def __init__(self, objects: Objects, call: Call) -> None:
        self._parts = Described(call, super().write)
        super().__init__(objects, call)

    def write(self, piece: bytes) -> None:
        self._parts.feed(piece)

    def answer(self) -> Reply:
        given = self._parts.description()
        return self.store({"contentType": self._parts.kind, **given} if self._parts.kind else given)


class _Start(_Small):
    """Begins a session; the address in ``Location`` takes the bytes."""

    def answer(self) -> Reply:
        call = self._call
        given = self.described()
        checked(given)
        bucket, name = call.names["bucket"], str(given.get("name") or call.query.get("name") or "")
        if not name:
            raise failures.invalid("Required parameter: name")
        if kind := call.headers.get("x-upload-content-type"):
            given = {"contentType": kind, **given}
        declared = call.headers.get("x-upload-content-length", "")
        conditions = Conditions.of(call.query)
        conditions.check(self._objects.find(bucket, name))
        made, blob = new_id(40), self._objects.new_blob()
        private_open(self._objects.path(blob), "xb").close()
        with self._objects.store.transaction() as db:
            db.execute(
                """INSERT INTO sessions (id, bucket, name, given, conditions, declared, created, blob)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    made,
                    bucket,
                    name,
                    json.dumps(given),
                    json.dumps(conditions),
                    int(declared) if declared.isdecimal() else None,
                    self._objects.clock.now(),
                    blob,
                ),
            )
        query = urlencode({"uploadType": "resumable", "name": name, "upload_id": made})
        place = f"{call.base}/upload/storage/v1/b/{bucket}/o?{query}"
        return Reply(b"", 200, {"Location": place, "X-GUploader-UploadID": made})


class _Cancel(_Small):
    """Ends a session; the service answers 499."""

    def __init__(self, objects: Objects, call: Call, session: sqlite3.Row) -> None:
        super().__init__(objects, call)
        self._session = session

    def answer(self) -> Reply:
        _end(self._objects, self._session, "cancelled")
        self._objects.path(self._session["blob"]).unlink(missing_ok=True)
        return Reply(b"", 499, {})


class _Place(NamedTuple):
    """Where a chunk belongs: None for no bytes, and its size and the whole's as far as they are stated."""

    start: int | None
    size: int | None
    total: int | None


class _Chunk:
    """One chunk of a session, or a question about it."""

    def __init__(self, objects: Objects, call: Call, session: sqlite3.Row) -> None:
        self._objects = objects
        self._call = call
        self._session = session
        self._place = _place(call.headers)
        received = session["received"]
        self._file: IO[bytes] | None = None
        #: Bytes of the body that are there already.
        self._skip = self._size = 0
        self._done = session["state"] == "finished" or objects.has_blob(session["blob"])
        if self._done:
            return
        start = received if self._place.start is None else self._place.start
        if start > received:
            raise failures.invalid(
                f"Invalid request.  According to the Content-Range header, the upload offset is {start} byte(s), "
                f"which exceeds already uploaded size of {received} byte(s)."
            )
        total, declared = self._place.total, session["declared"]
        if total is not None and declared is not None and total != declared:
            raise failures.invalid(f"Invalid request.  {declared} bytes were declared, not {total}.")
        self._skip = received - start
        self._file = objects.path(session["blob"]).open("r+b")
        self._file.seek(received)
        self._file.truncate()

    def write(self, piece: bytes) -> None:
        if self._file is None:
            return
        self._size += len(piece)
        if self._place.start is None and piece:
            raise failures.invalid("Invalid request.  A question about an upload has no bytes.")
        if self._place.size is not None and self._size > self._place.size:
            raise failures.invalid("Invalid request.  There are more bytes than Content-Range says.")
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        self._file.write(piece[skipped:])

    def answer(self) -> Reply:
        if self._done:
            row = self._objects.get(self._session["bucket"], self._session["name"])
            return Reply.json(shown(row, self._call.base))
        assert self._file is not None
        if self._place.size is not None and self._size < self._place.size:
            raise failures.invalid("Invalid request.  There are fewer bytes than Content-Range says.")
        end = self._file.tell()
        total = self._place.total
        if total is None and self._place.start is None:
            total = self._session["declared"]
        if end == total:
            return self._finished()
        if total is not None and end > total:
            raise failures.invalid(f"Invalid request.  There are {end} bytes; {total} were declared.")
        return self._more(self._keep())

    def broken(self) -> None:
        """What arrived stays, and the client may ask how much that is."""
        self._keep()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _keep(self) -> int:
        """Record whole grains; returns how many bytes are kept."""
        if self._file is None:
            return int(self._session["received"])
        kept = max(self._file.tell() // GRAIN * GRAIN, int(self._session["received"]))
        self._file.truncate(kept)
        self._file.flush()
        with self._objects.store.transaction() as db:
            db.execute("UPDATE sessions SET received = ? WHERE id = ?", (kept, self._session["id"]))
        return kept

    def _more(self, kept: int) -> Reply:
        headers = {"X-GUploader-UploadID": self._session["id"]}
        return Reply(b"", 308, {**headers, "Range": f"bytes=0-{kept - 1}"} if kept else headers)

    def _finished(self) -> Reply:
        assert self._file is not None
        self._file.close()
        session, sums = self._session, Checksums()
        with self._objects.path(session["blob"]).open("rb") as file:
            for piece in pieces(file):
                sums.update(piece)
        given = json.loads(session["given"])
        _check_sums(sums, {"md5": given.get("md5Hash"), "crc32c": given.get("crc32c")})
        stated = self._call.headers.get("x-goog-hash", "").split(",")
        _check_sums(sums, {name.strip(): value for name, _, value in (one.partition("=") for one in stated)})
        row = self._objects.put(
            session["bucket"],
            session["name"],
            session["blob"],
            sums,
            given=given,
            conditions=Conditions(*json.loads(session["conditions"])),
        )
        _end(self._objects, session, "finished")
        return Reply.json(shown(row, self._call.base))


def _session(objects: Objects, call: Call) -> sqlite3.Row:
    row = objects.store.row(
        "SELECT * FROM sessions WHERE id = ? AND bucket = ?", (call.query["upload_id"], call.names["bucket"])
    )
    if row is None:
        raise failures.CloudFailure(404, "notFound", "The upload session does not exist.")
    if row["state"] == "cancelled" or row["created"] + LIFE <= objects.clock.now():
        raise failures.CloudFailure(410, "gone", "The requested upload session is no longer available.")
    return row


def _end(objects: Objects, session: sqlite3.Row, state: str) -> None:
    with objects.store.transaction() as db:
        db.execute("UPDATE sessions SET state = ? WHERE id = ?", (state, session["id"]))


def _place(headers: Mapping[str, str]) -> _Place:
    text = headers.get("content-range", "")
    if not text:  # the rest of the object, in one piece
        length = headers.get("content-length", "")
        return _Place(0, None, int(length) if length.isdecimal() else None)
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise failures.invalid(f"Failed to parse Content-Range header: {text[:100]!r}")
    first, last, whole = found.groups()
    total = None if whole == "*" else int(whole)
    if first is None:
        return _Place(None, None, total)
    size = int(last) - int(first) + 1
    if size < 0 or (total is not None and int(last) >= total):
        raise failures.invalid(f"Failed to parse Content-Range header: {text[:100]!r}")
    return _Place(int(first), size, total)


def _check_sums(sums: Checksums, stated: Mapping[str, Any]) -> None:
    """Raise :class:`failures.CloudFailure` if a stated checksum is not that of the bytes."""
    for name, label, found in (("md5", "MD5 hash", sums.md5), ("crc32c", "CRC32C", sums.crc32c)):
        wanted = stated.get(name)
        if wanted and wanted != found:
            raise failures.invalid(f'Provided {label} "{wanted}" doesn\'t match calculated {label} "{found}".')
