"""The emulator's SQLite database: projects, files, uploads, caches, batches and their checkpoints.

Invariants: bytes reach the disk before the row that refers to them, so everything the database lists exists; a process
that dies at any moment leaves the state that it last acknowledged. Several processes may share one data folder. API
keys are never stored: a project is a salted hash of its key.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from gemini_batch.errors import StateError
from gemini_batch.jsonl import private_folder, private_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: The longest wait for another process's transaction, in seconds; all transactions are short.
_BUSY_SECONDS = 20.0
_ORPHAN_SECONDS = 24 * 3600

#: Each step is applied once, in order, in one transaction with its version number. Only append here.
_MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE files (
        id TEXT PRIMARY KEY,
        seq INTEGER NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        display_name TEXT NOT NULL,
        mime_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        source TEXT NOT NULL,
        blob TEXT NOT NULL
    );
    CREATE INDEX files_by_owner ON files (owner, seq);
    CREATE INDEX files_by_blob ON files (blob);
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        file_id TEXT NOT NULL,
        display_name TEXT NOT NULL,
        mime_type TEXT NOT NULL,
        declared INTEGER,
        received INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'active',
        created INTEGER NOT NULL,
        blob TEXT NOT NULL
    );
    CREATE TABLE batches (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        display_name TEXT NOT NULL,
        priority INTEGER NOT NULL,
        input_file TEXT NOT NULL,
        input_blob TEXT NOT NULL,
        plain INTEGER NOT NULL,
        state TEXT NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        ended INTEGER,
        due INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        rows_per_second REAL,
        cancelled INTEGER,
        cut INTEGER,
        total INTEGER NOT NULL,
        row INTEGER NOT NULL DEFAULT 0,
        in_offset INTEGER NOT NULL DEFAULT 0,
        out_offset INTEGER NOT NULL DEFAULT 0,
        succeeded INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        error_code INTEGER,
        error_message TEXT
    );
    CREATE INDEX batches_by_owner ON batches (owner, seq);
    CREATE INDEX batches_alive ON batches (state) WHERE state IN ('PENDING', 'RUNNING');
    CREATE INDEX batches_by_blob ON batches (input_blob);
    """,
    """
    ALTER TABLE batches ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
    UPDATE batches SET published = 1 WHERE state = 'SUCCEEDED';
    ALTER TABLE batches ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE uploads ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
    UPDATE uploads SET sent = received;
    """,
    "ALTER TABLE batches ADD COLUMN webhook TEXT",
    """
    CREATE TABLE caches (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        display_name TEXT NOT NULL,
        tokens INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        blob TEXT NOT NULL
    );
    CREATE INDEX caches_by_owner ON caches (owner, seq);
    ALTER TABLE batches ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE interactive (
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        paid INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        cached_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (owner, model)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE files ADD COLUMN object TEXT;
    CREATE INDEX files_by_object ON files (object, owner) WHERE object IS NOT NULL;
    """,
    """
    CREATE TABLE webhooks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        uri TEXT NOT NULL,
        events TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'enabled',
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL
    );
    CREATE INDEX webhooks_by_owner ON webhooks (owner, seq);
    CREATE TABLE webhook_secrets (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        webhook TEXT NOT NULL,
        secret TEXT NOT NULL,
        expires INTEGER
    );
    CREATE INDEX secrets_by_webhook ON webhook_secrets (webhook, seq);
    CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        webhook TEXT,
        batch TEXT,
        uri TEXT NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        change TEXT NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        state TEXT NOT NULL,
        attempts TEXT NOT NULL DEFAULT '[]'
    );
    CREATE INDEX deliveries_pending ON deliveries (due) WHERE state = 'pending';
    ALTER TABLE batches ADD COLUMN announced INTEGER NOT NULL DEFAULT 0;
    UPDATE batches SET announced = 1 WHERE ended IS NOT NULL;
    CREATE INDEX batches_to_announce ON batches (seq) WHERE ended IS NOT NULL AND announced = 0;
    """,
    "ALTER TABLE batches ADD COLUMN shape TEXT NOT NULL DEFAULT ''",
    """
    CREATE TABLE calls (
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        tier TEXT NOT NULL,
        paid INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        PRIMARY KEY (owner, model, tier)
    ) WITHOUT ROWID;
    INSERT INTO calls
        SELECT owner, model, 'standard', paid, failed, prompt_tokens, cached_tokens, output_tokens, 0, paid
        FROM interactive;
    DROP TABLE interactive;
    CREATE TABLE paid_requests (digest BLOB PRIMARY KEY, paid INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE batches ADD COLUMN vertex TEXT NOT NULL DEFAULT '{}';
    CREATE TABLE buckets (
        name TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        location TEXT NOT NULL,
        given TEXT NOT NULL,
        created INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE objects (
        bucket TEXT NOT NULL,
        name TEXT NOT NULL,
        generation INTEGER NOT NULL,
        metageneration INTEGER NOT NULL DEFAULT 1,
        size INTEGER NOT NULL,
        md5 TEXT NOT NULL,
        crc32c TEXT NOT NULL,
        components INTEGER,
        given TEXT NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        blob TEXT NOT NULL,
        PRIMARY KEY (bucket, name)
    ) WITHOUT ROWID;
    CREATE INDEX objects_by_blob ON objects (blob);
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        bucket TEXT NOT NULL,
        name TEXT NOT NULL,
        given TEXT NOT NULL,
        conditions TEXT NOT NULL,
        declared INTEGER,
        received INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'active',
        generation INTEGER,
        created INTEGER NOT NULL,
        blob TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE datasets (
        project TEXT NOT NULL,
        id TEXT NOT NULL,
        given TEXT NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (project, id)
    ) WITHOUT ROWID;
    CREATE TABLE bigquery_tables (
        project TEXT NOT NULL,
        dataset TEXT NOT NULL,
        id TEXT NOT NULL,
        given TEXT NOT NULL,
        columns TEXT NOT NULL,
        rows INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        blob TEXT NOT NULL,
        PRIMARY KEY (project, dataset, id)
    ) WITHOUT ROWID;
    """,
    "CREATE TABLE bigquery_jobs (project TEXT, id TEXT, job TEXT NOT NULL, PRIMARY KEY (project, id)) WITHOUT ROWID",
)


class Store:
    """The database and the blobs of one data folder. Thread-safe; open it once per process."""

    def __init__(self, folder: Path) -> None:
        """Open ``folder``, creating it if needed. Raises :class:`StateError` if a newer version wrote it."""
        private_folder(folder)
        self.folder = folder
        self.blobs = folder / "blobs"
        self.locks = folder / "locks"
        self.outputs = folder / "outputs"
        self._guard = threading.RLock()
        # One process at a time switches to WAL and migrates: SQLite itself does not wait for the switch to WAL.
        with FileLock(folder / "setup.lock", timeout=_BUSY_SECONDS, mode=0o600):
            for inner in (self.blobs, self.locks, self.outputs):
                private_folder(inner)
            database = folder / "emulator.db"
            if not database.exists():
                private_open(database, "ab").close()
            self._db = sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._db.row_factory = sqlite3.Row
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._migrate()
                self.salt = self._make_salt()
                self._sweep()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database; unfinished jobs continue from their checkpoints when the folder is opened again."""
        with self._guard:
            self._db.close()

    def _migrate(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > len(_MIGRATIONS):
            raise StateError(
                f"The emulator's data has version {found}; this program supports versions up to {len(_MIGRATIONS)}.",
                file=self.folder,
                next="Update gemini-batch, or use another data folder.",
            )
        for version, script in enumerate(_MIGRATIONS[found:], found + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {version}; COMMIT;")

    def _make_salt(self) -> bytes:
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (secrets.token_bytes(16),))
            return bytes(db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])

    def _sweep(self) -> None:
        """Remove what a killed process left behind: blobs that no row refers to, locks and partial outputs.

        Only old ones: another process may be about to write the row for a recent one.
        """
        alive = {
            row[0]
            for row in self._db.execute("SELECT id FROM batches WHERE state IN ('PENDING', 'RUNNING') AND deleted != 1")
        }
        needed = {
            row[0]
            for row in self._db.execute(
                """SELECT blob FROM files UNION SELECT blob FROM uploads WHERE state = 'active'
                UNION SELECT input_blob FROM batches WHERE state IN ('PENDING', 'RUNNING') AND deleted != 1
                UNION SELECT 'output-' || id FROM batches WHERE NOT deleted
                UNION SELECT 'paid-' || id FROM batches
                UNION SELECT blob FROM caches
                UNION SELECT blob FROM objects UNION SELECT blob FROM bigquery_tables
                UNION SELECT blob FROM sessions WHERE state = 'active'"""
            )
        }
        young = time.time() - _ORPHAN_SECONDS
        for path in (*self.blobs.iterdir(), *self.outputs.iterdir(), *self.locks.iterdir()):
            wanted = path.name in needed if path.parent == self.blobs else path.stem in alive
            with contextlib.suppress(OSError):  # another process removed it first
                if not wanted and path.stat().st_mtime < young:
                    path.unlink()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; one at a time across all processes. Keep it short."""
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._guard:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._guard:
            found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return found

    def project(self, key: str) -> str:
        """The project of an API key: a hash with this folder's salt, the only trace that a key leaves."""
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=self.salt, digest_size=16).hexdigest()

    def blob(self, name: str) -> Path:
        """The path of a blob. Names come from the emulator, never from a caller."""
        return self.blobs / name

    def partial(self, batch_id: str) -> Path:
        """The path of a batch's output while it is being written."""
        return self.outputs / f"{batch_id}.part"

    def output(self, batch_id: str) -> Path:
        """The path of a batch's complete output."""
        return self.blob(f"output-{batch_id}")

    def drop_blob(self, name: str) -> None:
        """Remove a blob, unless a file, an object, an upload or a batch that is still alive needs it.

        A registered object has none: its name is empty.
        """
        if not name:
            return
        needed = self.row(
            """SELECT 1 FROM files WHERE blob = :b
            UNION ALL SELECT 1 FROM batches WHERE input_blob = :b AND state IN ('PENDING', 'RUNNING') AND deleted != 1
            UNION ALL SELECT 1 FROM uploads WHERE blob = :b AND state = 'active'
            UNION ALL SELECT 1 FROM objects WHERE blob = :b""",
            {"b": name},
        )
        if needed is None:
            with contextlib.suppress(OSError):  # on Windows an open blob cannot be removed; it only costs disk space
                self.blob(name).unlink(missing_ok=True)
