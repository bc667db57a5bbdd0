"""What is stored of buckets and objects, and how the JSON API shows it.

An object's bytes are a blob with a random name: no name of a caller chooses a path. Objects may share a blob. A
generation replaces the one before it; old ones are not kept.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.files import new_id
from gemini_batch.emulator.vertex.storage import failures
from gemini_batch.emulator.vertex.storage.checksums import Checksums
from gemini_batch.errors import UsageError
from gemini_batch.jsonl import private_open

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store

#: A name after which no other name with the same beginning comes.
LAST = "\U0010ffff"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PIECE = 1 << 20
#: What a caller may say about an object, and sees again.
GIVEN = frozenset(
    {
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "customTime",
        "metadata",
        "storageClass",
    }
)


class Conditions(NamedTuple):
    """The preconditions of a call; a generation of 0 means that there is no object."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], prefix: str = "if") -> Conditions:
        """Those in a query. Raises :class:`failures.CloudFailure` for what is no number."""
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        found: list[int | None] = []
        for name in names:
            text = query.get(prefix + name)
            if text is not None and not re.fullmatch("-?[0-9]{1,20}", text):
                raise failures.invalid(f"Invalid value for {prefix}{name}: {text}")
            found.append(None if text is None else int(text))
        return cls(*found)

    def check(self, row: sqlite3.Row | None, *, reading: bool = False) -> None:
        """Raise :class:`failures.CloudFailure` unless they hold: 412, or 304 where a reader has what is there."""
        generation = 0 if row is None else row["generation"]
        metageneration = 0 if row is None else row["metageneration"]
        wanted = (self.generation, generation), (self.metageneration, metageneration)
        if any(one is not None and one != found for one, found in wanted):
            raise failures.condition_not_met()
        unwanted = (self.not_generation, generation), (self.not_metageneration, metageneration)
        if any(one == found for one, found in unwanted):
            raise failures.not_modified() if reading else failures.condition_not_met()


_NO_CONDITIONS = Conditions()


class Objects:
    """The buckets and objects of one data folder."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def add_bucket(
        self, name: str, *, project: str = "", location: str = "US", given: Mapping[str, Any] | None = None
    ) -> None:
        """Create a bucket. Raises :class:`failures.CloudFailure` for a name that is wrong (400) or taken (409)."""
        if not _BUCKET.fullmatch(name):
            raise failures.invalid(f"Invalid bucket name: '{name}'")
        with self.store.transaction() as db:
            values = (name, project, location, json.dumps(dict(given or {})), self.clock.now())
            if not db.execute("INSERT OR IGNORE INTO buckets VALUES (?, ?, ?, ?, ?)", values).rowcount:
                raise failures.conflict(
                    "Your previous request to create the named bucket succeeded and you already own it."
                )

    def ensure_bucket(self, name: str) -> None:
        """Create a bucket for every project, unless it exists. Raises :class:`UsageError` for a wrong name."""
        with contextlib.suppress(failures.CloudFailure):  # it was created before
            self.add_bucket(bucket_name(name))

    def bucket(self, name: str) -> sqlite3.Row:
        """A bucket. Raises :class:`failures.CloudFailure` (404)."""
        row = self.store.row("SELECT * FROM buckets WHERE name = ?", (name,))
        if row is None:
            raise failures.no_bucket()
        return row

    def find(self, bucket: str, name: str, generation: str | None = None) -> sqlite3.Row | None:
        """An object; with ``generation``, only if it has that one. Raises :class:`failures.CloudFailure` (404)."""
        self.bucket(bucket)
        row = self.store.row("SELECT * FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        return None if row is not None and generation not in (None, "", str(row["generation"])) else row

    def get(self, bucket: str, name: str, generation: str | None = None) -> sqlite3.Row:
        """The same. Raises :class:`failures.CloudFailure` (404)."""
        row = self.find(bucket, name, generation)
        if row is None:
            raise failures.no_object(bucket, name)
        return row

    def open(self, row: sqlite3.Row) -> IO[bytes]:
        """The bytes of an object. Raises :class:`failures.CloudFailure` (404) if it was replaced meanwhile."""
        try:
            return self.store.blob(row["blob"]).open("rb")
        except FileNotFoundError:
            raise failures.no_object(row["bucket"], row["name"]) from None

    def names(self, bucket: str, prefix: str) -> Iterator[sqlite3.Row]:
        """All objects whose name begins with ``prefix``, in order."""
        after = ""
        while rows := self.store.rows(
            "SELECT * FROM objects WHERE bucket = ? AND name > ? AND name >= ? AND name < ? ORDER BY name LIMIT 1000",
            (bucket, after, prefix, prefix + LAST),
        ):
            yield from rows
            after = rows[-1]["name"]

    def has_blob(self, blob: str) -> bool:
        """Whether an object has these bytes."""
        return self.store.row("SELECT 1 FROM objects WHERE blob = ?", (blob,)) is not None

    def new_blob(self) -> str:
        """The name of a blob for bytes that are about to be written."""
        return f"object-{new_id(24)}"

    def path(self, blob: str) -> Path:
        """Where a blob is."""
        return self.store.blob(blob)

    def put(
        self,
        bucket: str,
        name: str,
        blob: str,
        sums: Checksums,
        *,
        given: Mapping[str, Any],
        conditions: Conditions = _NO_CONDITIONS,
        components: int | None = None,
    ) -> sqlite3.Row:
        """Make an object of a complete blob, in place of the one that has the name.

        Raises :class:`failures.CloudFailure` if the conditions do not hold, or there is no such bucket; the blob is
        the caller's then.
        """
        if not name or name in (".", "..") or len(name.encode()) > 1024 or "\n" in name or "\r" in name:
            raise failures.invalid("Required parameter: name" if not name else f"Invalid object name: {name[:100]!r}")
        kept = {key: value for key, value in checked(given).items() if value is not None}
        self.bucket(bucket)
        with self.path(blob).open("rb+") as file:
            os.fsync(file.fileno())  # what the database lists exists
        now = self.clock.now()
        with self.store.transaction() as db:
            old = db.execute("SELECT * FROM objects WHERE bucket = ? AND name = ?", (bucket, name)).fetchone()
            conditions.check(old)
            last = 0 if old is None else old["generation"]
            db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    bucket,
                    name,
                    max(now // 1000, last + 1),
                    sums.size,
                    "" if components else sums.md5,
                    sums.crc32c,
                    components,
                    json.dumps(kept),
                    now,
                    now,
                    blob,
                ),
            )
        if old is not None:
            self.store.drop_blob(old["blob"])
        return self.get(bucket, name)

    def write(self, bucket: str, name: str, source: Iterator[bytes], **given: Any) -> sqlite3.Row:
        """Make an object of bytes, a piece at a time. Raises :class:`failures.CloudFailure`."""
        blob, sums = self.new_blob(), Checksums()
        try:
            with private_open(self.path(blob), "xb") as file:
                for piece in source:
                    file.write(piece)
                    sums.update(piece)
            return self.put(bucket, name, blob, sums, given=given)
        except BaseException:
            self.path(blob).unlink(missing_ok=True)
            raise

    def delete(self, bucket: str, name: str, generation: str | None, conditions: Conditions) -> None:
        """Delete an object. Raises :class:`failures.CloudFailure`."""
        row = self.get(bucket, name, generation)
        conditions.check(row)
        with self.store.transaction() as db:
            db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        self.store.drop_blob(row["blob"])


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller says about an object, as far as it is kept. Raises :class:`failures.CloudFailure` (400)."""
    kept = {key: value for key, value in given.items() if key in GIVEN}
    for key, value in kept.items():
        if key == "metadata":
            fits = value is None or (
                isinstance(value, dict) and all(one is None or isinstance(one, str) for one in value.values())
            )
        else:
            fits = value is None or isinstance(value, str)
        if not fits:
            raise failures.invalid(f"Invalid value for: {key}")
    return kept


def bucket_name(text: str) -> str:
    """A name for the option ``--bucket``. Raises :class:`UsageError`."""
    if not _BUCKET.fullmatch(text):
        raise UsageError(
            f"{text!r} is not the name of a bucket.",
            field="--bucket",
            code="bad_argument",
            next="Use 3 to 222 lower-case letters, digits, dots, dashes and underscores, for example inputs.",
        )
    return text


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time."""
    while piece := file.read(_PIECE):
        yield piece


def shown(row: sqlite3.Row, base: str) -> dict[str, Any]:
    """An object's metadata. ``base``: the address by which the caller reached the service."""
    bucket, name, generation = row["bucket"], row["name"], str(row["generation"])
    path = f"storage/v1/b/{bucket}/o/{quote(name, safe='~')}"
    at = _time(row["created"])
    found = {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "selfLink": f"{base}/{path}",
        "mediaLink": f"{base}/download/{path}?generation={generation}&alt=media",
        "name": name,
        "bucket": bucket,
        "generation": generation,
        "metageneration": str(row["metageneration"]),
        "storageClass": "STANDARD",
        **json.loads(row["given"]),
        "size": str(row["size"]),
        "md5Hash": row["md5"] or None,
        "crc32c": row["crc32c"],
        "componentCount": row["components"],
        "etag": etag(row),
        "timeCreated": at,
        "updated": _time(row["updated"]),
        "timeStorageClassUpdated": at,
    }
    return {key: value for key, value in found.items() if value is not None}


def etag(row: sqlite3.Row) -> str:
    """What changes whenever the object or its metadata does."""
    return base64.b64encode(f"{row['generation']}/{row['metageneration']}".encode()).decode()


def shown_bucket(row: sqlite3.Row, base: str) -> dict[str, Any]:
    """A bucket's metadata."""
    at = _time(row["created"])
    return {
        **json.loads(row["given"]),
        "kind": "storage#bucket",
        "selfLink": f"{base}/storage/v1/b/{row['name']}",
        "id": row["name"],
        "name": row["name"],
        "projectNumber": "0",
        "metageneration": "1",
        "location": row["location"],
        "locationType": "region" if "-" in row["location"] else "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": at,
        "updated": at,
    }


def _time(moment: int) -> str:
    seconds, rest = divmod(moment, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03d}Z"
