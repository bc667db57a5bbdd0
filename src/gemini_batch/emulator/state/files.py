"""The Files API without uploads: get, list, delete, download, register.

The caller cannot tell apart a file that is unknown, deleted, expired or another project's: all are 403.
"""

from __future__ import annotations

import base64
import mimetypes
import re
import secrets
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.state import spent
from gemini_batch.emulator.state.clock import HOUR, Clock, rfc3339

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.emulator.state.store import Store

LIFE = 48 * HOUR
LONGEST_ID = 40
LONGEST_DISPLAY_NAME = 512

#: In requests a file's URI is a name, not an address. Official clients accept it only if it begins with https, which
#: the emulator does not serve; so it is the URI that the service would give.
_NAMES = "https://generativelanguage.googleapis.com/v1beta/files/"
#: A registered object stays registered: a time that never comes.
_NEVER = 2**62
#: How the id of an output file begins; the id of its batch follows.
_OUTPUT = "batch-"
#: The URI of an object in Cloud Storage.
OBJECT = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/[^\r\n]{1,1024}")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_id(length: int) -> str:
    """A random id as the service makes them: lower-case letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Files:
    """The files of one data folder; ``life`` in nanoseconds.

    ``rehearsal``: rows may refer to files that were never uploaded here, because the service may have them.
    ``list_outputs``: whether the list shows output files, too.
    """

    def __init__(self, store: Store, clock: Clock, *, life: int = LIFE, rehearsal: bool = False) -> None:
        self._store = store
        self._clock = clock
        self.life = life
        self.rehearsal = rehearsal
        self.list_outputs = False

    def get(self, call: Call) -> Reply:
        """One file's description. Output files have one, although their ids are too long for :meth:`delete`."""
        return Reply.json(shown(self.find(call.names["file"], call.owner)))

    def list(self, call: Call) -> Reply:
        """The project's files, newest first, in pages; output files of batches only if ``list_outputs`` says so."""
        size, before = call.number("pageSize", 10, most=100), read_token(call.text("pageToken"))
        rows = self._store.rows(
            """SELECT * FROM files WHERE owner = ? AND (source != 'GENERATED' OR id NOT GLOB 'batch-*' OR ?)
            AND expires > ? AND (? OR seq < ?) ORDER BY seq DESC LIMIT ?""",
            (call.owner, self.list_outputs, self._clock.now(), before is None, before, size + 1),
        )
        answer: dict[str, Any] = {}
        if rows:
            answer["files"] = [shown(row) for row in rows[:size]]
        if len(rows) > size:
            answer["nextPageToken"] = page_token(rows[size - 1]["seq"])
        return Reply.json(answer)

    def delete(self, call: Call) -> Reply:
        """Delete a file; batches that were created from it continue."""
        file_id = call.names["file"]
        check_length("DeleteFileRequest", file_id)
        row = self.find(file_id, call.owner)
        with self._store.transaction() as db:
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))
        self._store.drop_blob(row["blob"])
        return Reply()

    def open(self, call: Call) -> IO[bytes]:
        """The bytes of a generated file; uploaded files cannot be downloaded."""
        file_id = call.names["file"]
        try:
            row = self.find(file_id, call.owner)
        except errors.ApiFailure:
            if file_id.startswith(_OUTPUT):
                raise errors.not_found() from None
            raise
        if row["source"] != "GENERATED":
            raise errors.invalid(
                f"Only generated files can be downloaded; files/{file_id} was {row['source'].lower()}."
            )
        try:
            return self._store.blob(row["blob"]).open("rb")
        except FileNotFoundError:
            raise errors.not_found() from None

    def register(self, call: Call) -> Reply:
        """Make files of objects in Cloud Storage, all or none; the same object again is the same file.

        The emulator sees no bucket: it takes the caller's word that the objects exist.
        """
        if not call.headers.get("authorization", "").lower().startswith("bearer "):
            raise errors.no_principal()
        uris = call.message("RegisterFilesRequest").get("uris") or []
        if not uris:
            raise errors.invalid("* RegisterFilesRequest.uris: at least one URI is required.\n")
        for uri in uris:
            if not OBJECT.fullmatch(uri):
                raise errors.invalid(f"* RegisterFilesRequest.uris: not an object, gs://bucket/object: {uri}\n")
        now, types = self._clock.now(), mimetypes.MimeTypes()  # only the types that Python itself knows
        with self._store.transaction() as db:
            for uri in uris:
                known = db.execute("SELECT 1 FROM files WHERE object = ? AND owner = ?", (uri, call.owner)).fetchone()
                if known is None:
                    mime_type = types.guess_type(uri)[0] or "application/octet-stream"
                    db.execute(
                        """INSERT INTO files (id, seq, owner, display_name, mime_type, size, sha256, created, expires,
                        source, blob, object) VALUES (?, (SELECT coalesce(max(seq), 0) + 1 FROM files), ?, '', ?, 0, '',
                        ?, ?, 'REGISTERED', '', ?)""",
                        (new_id(12), call.owner, mime_type, now, _NEVER, uri),
                    )
            found = [
                db.execute("SELECT * FROM files WHERE object = ? AND owner = ?", (uri, call.owner)).fetchone()
                for uri in uris
            ]
        return Reply.json({"files": [shown(row) for row in found]})

    def is_registered(self, uri: str, owner: str) -> bool:
        """Whether the project has registered this object. Those of Vertex AI need not: it must be in its bucket."""
        if owner.startswith("projects/"):
            place = tuple(uri.removeprefix("gs://").split("/", 1))
            return self._store.row("SELECT 1 FROM objects WHERE bucket = ? AND name = ?", place) is not None
        found = self._store.row("SELECT 1 FROM files WHERE object = ? AND owner = ?", (uri, owner))
        return found is not None

    def input(self, file_id: str, owner: str) -> str:
        """The blob of a job's input file. Raises :class:`errors.ApiFailure` (403, or 400 for a registered object)."""
        row = self.find(file_id, owner)
        if row["source"] == "REGISTERED":
            raise errors.invalid(
                f"The emulator cannot read files/{file_id}, which is {row['object']}. Upload the input of the job."
            )
        return str(row["blob"])

    def add_output(
        self, db: sqlite3.Connection, batch: sqlite3.Row, *, size: int, blob: str, now: int, life: int
    ) -> None:
        """Enter the output file of a batch, unless that was done before; ``life`` in nanoseconds."""
        db.execute(
            """INSERT OR IGNORE INTO files (id, seq, owner, display_name, mime_type, size, sha256, created, expires,
            source, blob) VALUES (:file, (SELECT coalesce(max(seq), 0) + 1 FROM files), :owner, '',
            'application/jsonl', :size, '', :now, :expires, 'GENERATED', :blob)""",
            {
                "file": f"{_OUTPUT}{batch['id']}",
                "owner": batch["owner"],
                "size": size,
                "now": now,
                "expires": now + life,
                "blob": blob,
            },
        )

    def find(self, file_id: str, owner: str) -> sqlite3.Row:
        """The row of a file that this project may use now. Raises :class:`errors.ApiFailure` (403)."""
        row = self._store.row(
            "SELECT * FROM files WHERE id = ? AND owner = ? AND expires > ?", (file_id, owner, self._clock.now())
        )
        if row is None:
            raise errors.no_file(file_id)
        return row

    def was_here(self, file_id: str, owner: str) -> bool:
        """Whether the project has ever uploaded a file of that id, deleted and expired ones included."""
        return (
            self._store.row("SELECT 1 FROM uploads WHERE file_id = ? AND owner = ? LIMIT 1", (file_id, owner))
            is not None
        )

    def ids(self, owner: str) -> frozenset[str]:
        """The ids of all files that the project may use now."""
        rows = self._store.rows("SELECT id FROM files WHERE owner = ? AND expires > ?", (owner, self._clock.now()))
        return frozenset(row["id"] for row in rows)

    def expire(self, db: sqlite3.Connection, now: int) -> None:
        """Delete what has expired, which frees its ids and its storage."""
        files = db.execute("DELETE FROM files WHERE expires <= ? RETURNING id, source, blob", (now,)).fetchall()
        for file in files:
            output = self._store.blob(file["blob"])
            if file["source"] == "GENERATED" and file["id"].startswith(_OUTPUT) and output.exists():
                spent.note(self._store, file["id"].removeprefix(_OUTPUT), output)  # the account outlives the output
        gone = [(file["blob"],) for file in files]
        gone += db.execute(
            "UPDATE uploads SET state = 'expired' WHERE created <= ? AND state != 'expired' RETURNING blob",
            (now - self.life,),
        ).fetchall()
        for (blob,) in gone:
            self._store.drop_blob(blob)


def check_length(request: str, file_id: str) -> None:
    """Refuse an id that is too long, with the service's message. Raises :class:`errors.ApiFailure` (400)."""
    if len(file_id) > LONGEST_ID:
        raise errors.invalid(
            f"* {request}.name: File ID (name excluding 'files/') cannot be more than {LONGEST_ID} characters.\n"
        )


def shown(row: sqlite3.Row) -> dict[str, Any]:
    """A file as the API's ``File``."""
    created = rfc3339(row["created"])
    facts = {
        "name": f"files/{row['id']}",
        "displayName": row["display_name"],
        "mimeType": row["mime_type"],
        "sizeBytes": str(row["size"]) if row["size"] else None,
        "createTime": created,
        "updateTime": created,
        "expirationTime": None if row["expires"] == _NEVER else rfc3339(row["expires"]),
        # The service encodes the hexadecimal text of the digest, not its bytes.
        "sha256Hash": base64.b64encode(row["sha256"].encode()).decode(),
        "uri": f"{_NAMES}{row['id']}",
        "state": "ACTIVE",
        "source": row["source"],
        "downloadUri": f"{_NAMES}{row['id']}:download?alt=media" if row["source"] == "GENERATED" else None,
    }
    return {name: value for name, value in facts.items() if value}


def page_token(seq: int) -> str:
    """An opaque token for the page after the item numbered ``seq``."""
    return base64.urlsafe_b64encode(f"before:{seq}".encode()).decode().rstrip("=")


def read_token(token: str) -> int | None:
    """The number in a page token; None for the first page. Raises :class:`errors.ApiFailure` (400)."""
    if not token:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        return int(text.removeprefix("before:"))
    except ValueError:
        raise errors.invalid("The page token is not valid.") from None


def page_text(name: str) -> str:
    """An opaque token for the page after the item with this name."""
    return base64.urlsafe_b64encode(f"after:{name}".encode()).decode().rstrip("=")


def read_page_text(token: str) -> str:
    """The name in such a token; empty for the first page. Raises :class:`errors.ApiFailure` (400)."""
    if not token:
        return ""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise errors.invalid("The page token is not valid.") from None
    return text.removeprefix("after:")
