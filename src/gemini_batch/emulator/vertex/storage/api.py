"""Cloud Storage's methods on buckets and objects, without uploads."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Download, Reply
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.emulator.state.files import page_text, read_page_text
from gemini_batch.emulator.vertex.storage import failures
from gemini_batch.emulator.vertex.storage.checksums import Checksums
from gemini_batch.emulator.vertex.storage.objects import (
    GIVEN,
    LAST,
    Conditions,
    checked,
    etag,
    pieces,
    shown,
    shown_bucket,
)
from gemini_batch.jsonl import private_open

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from gemini_batch.emulator.vertex.storage.objects import Objects

Kind = TypeVar("Kind", bound=msgspec.Struct)

_MOST_PARTS = 32
#: What would change an answer, and is not served.
_UNSERVED = ("matchGlob", "softDeleted", "includeFoldersAsPrefixes")


class _Source(msgspec.Struct):
    name: str
    generation: int | str = ""
    objectPreconditions: dict[str, int | str] = {}  # noqa: N815 - the API's name


class _Composition(msgspec.Struct):
    sourceObjects: list[_Source] = []  # noqa: N815 - the API's name
    destination: dict[str, Any] = {}


class Storage:
    """The methods of one emulator's Cloud Storage."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def create_bucket(self, call: Call) -> Reply:
        """Create a bucket in the project that the query names."""
        asked = body(call)
        name = asked.get("name")
        if not isinstance(name, str) or not name:
            raise failures.invalid("Required parameter: name")
        given = {key: asked[key] for key in ("labels",) if isinstance(asked.get(key), dict)}
        location = str(asked.get("location") or "US").upper()
        self._objects.add_bucket(name, project=call.text("project"), location=location, given=given)
        return self.get_bucket(call, name)

    def get_bucket(self, call: Call, name: str = "") -> Reply:
        """One bucket."""
        return Reply.json(shown_bucket(self._objects.bucket(name or call.names["bucket"]), call.base))

    def list_buckets(self, call: Call) -> Reply:
        """The buckets of a project, by name; those that the emulator was started with belong to every project."""
        after, size = read_page_text(call.text("pageToken")), call.number("maxResults", 1000, most=1000)
        rows = self._objects.store.rows(
            """SELECT * FROM buckets WHERE project IN (?, '') AND name > ? AND name >= ? AND name < ?
            ORDER BY name LIMIT ?""",
            (call.text("project"), after, call.text("prefix"), call.text("prefix") + LAST, size + 1),
        )
        answer: dict[str, Any] = {"kind": "storage#buckets"}
        if rows:
            answer["items"] = [shown_bucket(row, call.base) for row in rows[:size]]
        if len(rows) > size:
            answer["nextPageToken"] = page_text(rows[size - 1]["name"])
        return Reply.json(answer)

    def delete_bucket(self, call: Call) -> Reply:
        """Delete an empty bucket."""
        name = self._objects.bucket(call.names["bucket"])["name"]
        with self._objects.store.transaction() as db:
            if db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)).fetchone():
                raise failures.conflict("The bucket you tried to delete is not empty.")
            db.execute("DELETE FROM buckets WHERE name = ?", (name,))
        return _nothing()

    def list_objects(self, call: Call) -> Reply:
        """The objects of a bucket, by name, in pages; with a delimiter, the beginnings of names count as one each."""
        if found := [name for name in _UNSERVED if call.query.get(name)]:
            raise errors.unserved(f"objects.list with {found[0]}")
        bucket = self._objects.bucket(call.names["bucket"])["name"]
        size = call.number("maxResults", 1000, most=1000)
        names = _Names(call, self._objects, bucket)
        items: list[dict[str, Any]] = []
        prefixes: list[str] = []
        for row, prefix in names:
            if len(items) + len(prefixes) == size:
                break
            if prefix:
                prefixes.append(prefix)
            else:
                items.append(shown(row, call.base))
        else:
            names.last = ""
        answer = {
            "kind": "storage#objects",
            "items": items,
            "prefixes": prefixes,
            "nextPageToken": page_text(names.last) if names.last else "",
        }
        return Reply.json({name: value for name, value in answer.items() if value})

    def get_object(self, call: Call) -> Reply | Download:
        """An object's metadata, or its bytes (``alt=media``)."""
        row = self._objects.get(call.names["bucket"], call.names["object"], call.query.get("generation"))
        Conditions.of(call.query).check(row, reading=True)
        if call.query.get("alt") != "media":
            return Reply.json(shown(row, call.base))
        return self._download(row)

    def download(self, call: Call) -> Reply | Download:
        """An object's bytes, whatever the query says."""
        row = self._objects.get(call.names["bucket"], call.names["object"], call.query.get("generation"))
        Conditions.of(call.query).check(row, reading=True)
        return self._download(row)

    def _download(self, row: sqlite3.Row) -> Download:
        given = json.loads(row["given"])
        hashes = f"crc32c={row['crc32c']}" + (f",md5={row['md5']}" if row["md5"] else "")
        headers = {
            "Content-Type": given.get("contentType") or "application/octet-stream",
            "X-Goog-Hash": hashes,
            "X-Goog-Generation": str(row["generation"]),
            "X-Goog-Metageneration": str(row["metageneration"]),
            "X-Goog-Storage-Class": "STANDARD",
            "X-Goog-Stored-Content-Length": str(row["size"]),
            "ETag": etag(row),
        }
        named = {"Content-Encoding": "contentEncoding", "Cache-Control": "cacheControl"}
        headers |= {header: str(given[key]) for header, key in named.items() if given.get(key)}
        return Download(self._objects.open(row), headers)

    def update_object(self, call: Call) -> Reply:
        """Change an object's metadata: what the body names; None removes it."""
        bucket, name = call.names["bucket"], call.names["object"]
        row = self._objects.get(bucket, name, call.query.get("generation"))
        Conditions.of(call.query).check(row)
        given = json.loads(row["given"])
        for key, value in checked(body(call)).items():
            if key == "metadata" and value is not None:
                merged = {**given.get(key, {}), **value}
                given[key] = {inner: text for inner, text in merged.items() if text is not None}
            else:
                given[key] = value
        kept = {key: value for key, value in given.items() if value is not None}
        with self._objects.store.transaction() as db:
            db.execute(
                """UPDATE objects SET given = ?, updated = ?, metageneration = metageneration + 1
                WHERE bucket = ? AND name = ? AND generation = ?""",
                (json.dumps(kept), self._objects.clock.now(), bucket, name, row["generation"]),
            )
        return Reply.json(shown(self._objects.get(bucket, name), call.base))

    def delete_object(self, call: Call) -> Reply:
        """Delete an object."""
        conditions = Conditions.of(call.query)
        self._objects.delete(call.names["bucket"], call.names["object"], call.query.get("generation"), conditions)
        return _nothing()

    def copy(self, call: Call) -> Reply:
        """Make an object of another one's bytes; the answer is its metadata."""
        return Reply.json(shown(self._copied(call), call.base))

    def rewrite(self, call: Call) -> Reply:
        """The same, as a rewrite that is done at once."""
        row = self._copied(call)
        size = str(row["size"])
        done = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
        return Reply.json({**done, "resource": shown(row, call.base)})

    def _copied(self, call: Call) -> sqlite3.Row:
        source = self._objects.get(call.names["bucket"], call.names["object"], call.query.get("sourceGeneration"))
        Conditions.of(call.query, "ifSource").check(source)
        asked = body(call)
        given = asked if GIVEN & asked.keys() else json.loads(source["given"])
        return self._joined(call.names["to_bucket"], call.names["to_object"], [source], given, call, whole=True)

    def compose(self, call: Call) -> Reply:
        """Make an object of the bytes of up to 32 others of its bucket."""
        asked = fitting(body(call), _Composition)
        bucket, name, named = call.names["bucket"], call.names["object"], asked.sourceObjects
        if not named:
            raise failures.invalid("You must provide at least one source component.")
        if len(named) > _MOST_PARTS:
            raise failures.invalid("The number of source components provided exceeds the maximum (32).")
        sources = []
        for one in named:
            found = self._objects.get(bucket, one.name, str(one.generation))
            Conditions.of({key: str(value) for key, value in one.objectPreconditions.items()}).check(found)
            sources.append(found)
        return Reply.json(shown(self._joined(bucket, name, sources, asked.destination, call), call.base))

    def _joined(
        self,
        bucket: str,
        name: str,
        sources: list[sqlite3.Row],
        given: Mapping[str, Any],
        call: Call,
        *,
        whole: bool = False,
    ) -> sqlite3.Row:
        """An object of the bytes of others; ``whole``: it is a copy, and no composite."""
        blob, sums = self._objects.new_blob(), Checksums()
        path = self._objects.path(blob)
        parts = sources[0]["components"] if whole else sum(one["components"] or 1 for one in sources)
        try:
            with private_open(path, "xb") as target:
                for source in sources:
                    with contextlib.closing(self._objects.open(source)) as file:
                        for piece in pieces(file):
                            target.write(piece)
                            sums.update(piece)
            conditions = Conditions.of(call.query)
            return self._objects.put(bucket, name, blob, sums, given=given, conditions=conditions, components=parts)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


class _Names:
    """The rows of a listing after its page token, each with the common beginning that it stands for, if any."""

    def __init__(self, call: Call, objects: Objects, bucket: str) -> None:
        self._objects, self._bucket = objects, bucket
        self._prefix, self._delimiter = call.text("prefix"), call.text("delimiter")
        self._first = max(call.text("startOffset"), self._prefix)
        self._end = min(filter(None, (call.text("endOffset"), self._prefix + LAST)))
        self.last = read_page_text(call.text("pageToken"))

    def __iter__(self) -> Iterator[tuple[sqlite3.Row, str]]:
        """``last`` is the place after which the next page begins, if the row just given is on it."""
        after = self.last
        while rows := self._objects.store.rows(
            """SELECT * FROM objects WHERE bucket = ? AND name > ? AND name >= ? AND name < ?
            ORDER BY name LIMIT 1000""",
            (self._bucket, after, self._first, self._end),
        ):
            for row in rows:
                if row["name"] <= after:
                    continue  # under a beginning that was given already
                head, found, _ = row["name"][len(self._prefix) :].partition(self._delimiter or "\0")
                prefix = f"{self._prefix}{head}{self._delimiter}" if self._delimiter and found else ""
                yield row, prefix
                self.last = after = prefix + LAST if prefix else row["name"]
            after = max(after, rows[-1]["name"])


def body(call: Call) -> dict[str, Any]:
    """The body of a call as an object. Raises :class:`failures.CloudFailure` (400)."""
    try:
        value = read_body(call.body)
    except BadBody as error:
        raise failures.invalid(f"Parse Error: {error}") from None
    if not isinstance(value, dict):
        raise failures.invalid("Parse Error: the body is not an object")
    return value


def fitting(value: Any, kind: type[Kind]) -> Kind:
    """A body as a struct. Raises :class:`failures.CloudFailure` (400) if it does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise failures.invalid(f"Invalid value: {error}") from None


def _nothing() -> Reply:
    return Reply(b"", 204, {})
