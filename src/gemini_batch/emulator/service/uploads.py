"""Uploads: the resumable protocol (start, chunks, query, cancel, finalize), and what all protocols share.

Invariant: bytes are on disk before the database acknowledges them, so a process that dies loses no acknowledged byte.
Bytes are streamed; no file is ever completely in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
import threading
from typing import IO, TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.state.files import LONGEST_DISPLAY_NAME, Files, check_length, new_id, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.quotas import Limits
    from gemini_batch.emulator.state.store import Store

GRANULARITY = 262_144

_CUSTOM_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_MIME = re.compile(r"(?:application|audio|font|image|model|multipart|text|video)/[\w.+-]+(?:\s*;.*)?|jsonl")


class Uploads:
    """The uploads of one data folder."""

    def __init__(self, store: Store, clock: Clock, files: Files, limits: Limits) -> None:
        self.limits = limits
        self._store = store
        self._clock = clock
        self._files = files
        #: Running digests of this process's uploads; after a restart they are computed again from the blob.
        self._digests: dict[str, tuple[int, Any]] = {}
        self._guard = threading.Lock()

    def start(self, call: Call) -> Reply:
        """Start a resumable upload; the answer's ``X-Goog-Upload-URL`` accepts the bytes without a key."""
        if protocol_of(call.headers, call.query) != "resumable":
            raise errors.invalid(
                "An upload names its protocol: X-Goog-Upload-Protocol: resumable, multipart or raw, or the query's "
                "upload_protocol."
            )
        if command_of(call.headers) != {"start"}:
            raise errors.invalid(
                "An upload begins with X-Goog-Upload-Command: start; a whole file in one request has start, upload, "
                "finalize."
            )
        file = call.message("CreateFileRequest").get("file", {})
        declared = size_of(call.headers.get("x-goog-upload-header-content-length") or file.get("sizeBytes"))
        upload_id = self.begin(call, file, call.headers.get("x-goog-upload-header-content-type", ""), declared)
        url = f"{call.base}/upload/{call.version}/files?upload_id={upload_id}&upload_protocol=resumable"
        return Reply(
            b"",
            headers={
                "Content-Type": "text/plain; charset=utf-8",
                "X-Goog-Upload-URL": url,
                "X-Goog-Upload-Status": "active",
                "X-Goog-Upload-Chunk-Granularity": str(GRANULARITY),
            },
        )

    def create(self, call: Call) -> Reply:
        """A file of which only the description is sent: it has no bytes."""
        file = call.message("CreateFileRequest").get("file", {})
        chunk = self.whole(self.begin(call, file, "", None))
        try:
            return Reply.json(jsonl.decode(chunk.answer().body))
        finally:
            chunk.close()

    def begin(self, call: Call, file: Mapping[str, Any], mime_type: str, declared: int | None) -> str:
        """Enter an upload, and return its id. Raises :class:`errors.ApiFailure` if there can be no such file.

        ``file`` is what the caller says of it; ``mime_type`` counts if that names none. ``declared`` is in bytes.
        """
        display_name = file.get("displayName", "")
        if len(display_name) > LONGEST_DISPLAY_NAME:
            raise errors.invalid("* CreateFileRequest.file.display_name: must be at most 512 characters long.\n")
        quotas = self.limits.quotas
        if declared is not None and declared > quotas.file:
            raise errors.invalid(f"The file is larger than {quotas.file} bytes.")
        file_id = _chosen_id(file.get("name", ""))
        upload_id, now = secrets.token_urlsafe(36), self._clock.now()
        with self._store.transaction() as db:
            self._files.expire(db, now)
            if file_id and db.execute("SELECT 1 FROM files WHERE id = ?", (file_id,)).fetchone():
                raise errors.exists(f"File {file_id}")
            self.limits.store_more(db, call.owner, declared or 0)
            db.execute(
                """INSERT INTO uploads (id, owner, file_id, display_name, mime_type, declared, created, blob)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    upload_id,
                    call.owner,
                    file_id,
                    display_name,
                    file.get("mimeType") or mime_type,
                    declared,
                    now,
                    f"file-{new_id(20)}",
                ),
            )
        return upload_id

    def open_chunk(self, call: Call) -> Chunk:
        """Prepare to receive a chunk's bytes. Raises :class:`errors.ApiFailure` if it cannot be accepted."""
        upload = self._upload(call.query.get("upload_id", ""))
        commands = command_of(call.headers)
        if upload["state"] == "active" and "upload" in commands:
            offset = size_of(call.headers.get("x-goog-upload-offset"))
            if offset != upload["received"]:
                raise errors.invalid(
                    f"Upload offset {offset} does not match the {upload['received']} bytes received so far.",
                    headers=_progress(upload),
                )
        return Chunk(self, self._store, upload, commands)

    def whole(self, upload_id: str) -> Chunk:
        """The one chunk of an upload whose bytes arrive all at once."""
        return Chunk(self, self._store, self._upload(upload_id), {"upload", "finalize"})

    def digest(self, upload_id: str, blob: IO[bytes], received: int) -> Any:
        """The running SHA-256 of the first ``received`` bytes, from memory or computed again from the blob."""
        with self._guard:
            known, running = self._digests.pop(upload_id, (-1, None))
        if known == received:
            return running
        running = hashlib.sha256()
        blob.seek(0)
        left = received
        while left and (piece := blob.read(min(left, 1 << 20))):
            running.update(piece)
            left -= len(piece)
        return running

    def keep_digest(self, upload_id: str, received: int, running: Any) -> None:
        """Keep the running digest until the next chunk."""
        with self._guard:
            self._digests[upload_id] = (received, running)

    def finish(self, upload: sqlite3.Row, size: int, sha256: str) -> Reply:
        """Turn a complete upload into a file; a repeated call gets the same answer."""
        if not _MIME.fullmatch(upload["mime_type"] or "application/octet-stream"):
            with self._store.transaction() as db:
                db.execute("UPDATE uploads SET state = 'cancelled' WHERE id = ?", (upload["id"],))
            self._store.drop_blob(upload["blob"])
            raise errors.invalid(
                f"Unsupported MIME type: {upload['mime_type']}", headers={"X-Goog-Upload-Status": "final"}
            )
        now = self._clock.now()
        with self._store.transaction() as db:
            state, chosen = db.execute("SELECT state, file_id FROM uploads WHERE id = ?", (upload["id"],)).fetchone()
            file_id = chosen or new_id(12)
            if state == "active":
                self._files.expire(db, now)
                self.limits.store_more(db, upload["owner"], size)
                try:
                    db.execute(
                        """INSERT INTO files (id, seq, owner, display_name, mime_type, size, sha256, created, expires,
                        source, blob) VALUES
                        (?, (SELECT coalesce(max(seq), 0) + 1 FROM files), ?, ?, ?, ?, ?, ?, ?, 'UPLOADED', ?)""",
                        (
                            file_id,
                            upload["owner"],
                            upload["display_name"],
                            upload["mime_type"] or "application/octet-stream",
                            size,
                            sha256,
                            now,
                            now + self._files.life,
                            upload["blob"],
                        ),
                    )
                except sqlite3.IntegrityError:
                    refused = errors.exists(f"File {file_id}")
                    refused.headers["X-Goog-Upload-Status"] = "final"
                    raise refused from None
                db.execute("UPDATE uploads SET state = 'final', file_id = ? WHERE id = ?", (file_id, upload["id"]))
            row = db.execute("SELECT * FROM files WHERE id = ?", (file_id,)).fetchone()
        answer = {} if row is None else {"file": shown(row)}
        return Reply.json(answer, headers={"X-Goog-Upload-Status": "final"})

    def cancel_upload(self, upload: sqlite3.Row) -> Reply:
        """Cancel an upload."""
        with self._store.transaction() as db:
            db.execute("UPDATE uploads SET state = 'cancelled' WHERE id = ? AND state = 'active'", (upload["id"],))
        self._store.drop_blob(upload["blob"])
        return Reply(b"", headers={"X-Goog-Upload-Status": "cancelled"})

    def _upload(self, upload_id: str) -> sqlite3.Row:
        row = self._store.row("SELECT * FROM uploads WHERE id = ?", (upload_id,))
        if row is None or row["state"] == "expired":
            refused = errors.not_found()
            refused.headers["X-Goog-Upload-Status"] = "final"
            raise refused
        return row


class Chunk:
    """One request on an upload URL: write its bytes as they arrive, then get the answer.

    If the connection breaks, the whole granules received so far are kept; ``query`` tells how much that is.
    """

    def __init__(self, uploads: Uploads, store: Store, upload: sqlite3.Row, commands: set[str]) -> None:
        self._uploads = uploads
        self._store = store
        self.upload = upload
        self._commands = commands
        self._takes = upload["state"] == "active" and "upload" in commands
        self._received: int = upload["received"]
        self._blob: IO[bytes] | None = None
        self._digest: Any = None
        self._sent = 0

    def write(self, piece: bytes) -> None:
        """Accept more bytes, any number; bytes that no command announced are ignored."""
        self._sent += len(piece)
        if not self._takes:
            return
        blob = self._open()
        limit = self._uploads.limits.quotas.file
        if self._received + len(piece) > limit:
            raise errors.invalid(f"The file is larger than {limit} bytes.", headers=_progress(self.upload))
        blob.write(piece)
        self._digest.update(piece)
        self._received += len(piece)

    def answer(self) -> Reply:
        """The answer to a request that arrived completely."""
        if self.upload["state"] == "cancelled":
            return Reply(b"", headers={"X-Goog-Upload-Status": "cancelled"})
        if "cancel" in self._commands:
            return self._uploads.cancel_upload(self.upload)
        if self.upload["state"] == "final":
            # The client did not receive the answer to its last chunk: it is resent.
            return self._uploads.finish(self.upload, 0, "")
        if "query" in self._commands:
            return Reply(b"", headers=_progress(self.upload))
        if not self._commands & {"upload", "finalize"}:
            raise errors.invalid("X-Goog-Upload-Command must be upload, finalize, query or cancel.")
        final = "finalize" in self._commands
        if not final and (self._received - self.upload["received"]) % GRANULARITY:
            raise errors.invalid(
                f"A chunk that is not the last must be a multiple of {GRANULARITY} bytes.",
                headers=_progress(self.upload),
            )
        self._open()
        self._keep(self._received)
        if not final:
            self._uploads.keep_digest(self.upload["id"], self._received, self._digest)
            return Reply(b"", headers={"X-Goog-Upload-Status": "active"})
        declared = self.upload["declared"]
        if declared is not None and declared != self._received:
            raise errors.invalid(
                f"The upload was declared as {declared} bytes; {self._received} bytes were received.",
                headers={"X-Goog-Upload-Status": "active", "X-Goog-Upload-Size-Received": str(self._received)},
            )
        return self._uploads.finish(self.upload, self._received, self._digest.hexdigest())

    def broken(self) -> None:
        """Keep the whole granules that arrived before the connection broke."""
        start: int = self.upload["received"]
        whole = start + (self._received - start) // GRANULARITY * GRANULARITY
        if self._blob is not None and whole > start:
            self._keep(whole)

    def close(self) -> None:
        """Close the blob, and record how many bytes came over the wire, kept or not."""
        if self._blob is not None:
            self._blob.close()
        if self._sent:
            with self._store.transaction() as db:
                db.execute("UPDATE uploads SET sent = sent + ? WHERE id = ?", (self._sent, self.upload["id"]))

    def _open(self) -> IO[bytes]:
        if self._blob is None:
            path = self._store.blob(self.upload["blob"])
            jsonl.private_open(path, "ab").close()
            self._blob = path.open("r+b")
            self._digest = self._uploads.digest(self.upload["id"], self._blob, self.upload["received"])
            self._blob.seek(self.upload["received"])
            self._blob.truncate()
        return self._blob

    def _keep(self, received: int) -> None:
        assert self._blob is not None
        self._blob.flush()
        os.fsync(self._blob.fileno())
        with self._store.transaction() as db:
            kept = db.execute(
                "UPDATE uploads SET received = ? WHERE id = ? AND received = ? AND state = 'active'",
                (received, self.upload["id"], self.upload["received"]),
            )
            if kept.rowcount != 1:
                raise errors.ApiFailure(409, "ABORTED", "Another request on this upload was faster.")


def protocol_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """``resumable``, ``multipart``, ``raw``, or what else an upload names; empty if it names none."""
    named = headers.get("x-goog-upload-protocol") or query.get("upload_protocol") or query.get("uploadType") or ""
    protocol = named.strip().lower()
    return "raw" if protocol == "media" else protocol


def command_of(headers: Mapping[str, str]) -> set[str]:
    """The words of ``X-Goog-Upload-Command``."""
    return {word.strip().lower() for word in headers.get("x-goog-upload-command", "").split(",")}


def _progress(upload: sqlite3.Row) -> dict[str, str]:
    return {
        "X-Goog-Upload-Status": upload["state"],
        "X-Goog-Upload-Size-Received": str(upload["received"]),
        "X-Goog-Upload-Chunk-Granularity": str(GRANULARITY),
    }


def size_of(text: object) -> int | None:
    """A number of bytes; None if there is none. Raises :class:`errors.ApiFailure` (400)."""
    if text in (None, ""):
        return None
    try:
        number = int(str(text))
    except ValueError:
        number = -1
    if number < 0:
        raise errors.invalid(f"Not a number of bytes: {text}")
    return number


def _chosen_id(name: str) -> str:
    file_id = name.removeprefix("files/")
    if file_id:
        check_length("CreateFileRequest", file_id)
        if not _CUSTOM_ID.fullmatch(file_id):
            raise errors.invalid(
                "* CreateFileRequest.file.name: File ID (name excluding 'files/') may only have lower-case letters, "
                "digits and dashes, and no dash at its ends.\n"
            )
    return file_id
