"""The Files API without uploads: get, list, delete, download.

The caller cannot tell apart a file that is unknown, deleted, expired or another project's: all are 403.
"""

from __future__ import annotations

import base64
import secrets
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
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
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_id(length: int) -> str:
    """A random id as the service makes them: lower-case letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Files:
    """The files of one data folder; ``life`` in nanoseconds.

    ``rehearsal``: rows may refer to files that were never uploaded here, because the service may have them.
    """

    def __init__(self, store: Store, clock: Clock, *, life: int = LIFE, rehearsal: bool = False) -> None:
        self._store = store
        self._clock = clock
        self.life = life
        self.rehearsal = rehearsal

    def get(self, call: Call) -> Reply:
        """One file's description."""
        file_id = call.names["file"]
        check_length("GetFileRequest", file_id)
        return Reply.json(shown(self.find(file_id, call.owner)))

    def list(self, call: Call) -> Reply:
        """The project's files, newest first, in pages; not the output files of its batches."""
        size, before = call.number("pageSize", 10, most=100), read_token(call.text("pageToken"))
        rows = self._store.rows(
            """SELECT * FROM files WHERE owner = ? AND (source = 'UPLOADED' OR id NOT GLOB 'batch-*') AND expires > ?
            AND (? OR seq < ?) ORDER BY seq DESC LIMIT ?""",
            (call.owner, self._clock.now(), before is None, before, size + 1),
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
            if file_id.startswith("batch-"):
                raise errors.not_found() from None
            raise
        if row["source"] != "GENERATED":
            raise errors.invalid(f"Only generated files can be downloaded; files/{file_id} was uploaded.")
        try:
            return self._store.blob(row["blob"]).open("rb")
        except FileNotFoundError:
            raise errors.not_found() from None

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
        gone = db.execute("DELETE FROM files WHERE expires <= ? RETURNING blob", (now,)).fetchall()
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
        "expirationTime": rfc3339(row["expires"]),
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
