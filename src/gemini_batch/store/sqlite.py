"""Opens both databases: WAL, explicit transactions, append-only migrations, and errors with a next step."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gemini_batch.errors import StateError
from gemini_batch.jsonl import private_folder, private_open, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


#: The database that can be made again from the others.
INDEX = "index of answered rows"
#: Seconds for which a writer waits for another process's transaction. Most transactions are short, but collecting a
#: very large job is a single one.
BUSY_SECONDS = 60.0
#: How often, and at which interval in seconds, to retry a new database that another process is creating.
_SWITCH_TRIES, _SWITCH_PAUSE = 200, 0.05


#: A step of a schema; and a context that is entered, within the transaction, before an existing database is migrated.
#: It raises StateError while another process may be using the database.
Migration = Callable[[sqlite3.Connection], None]
Alone = Callable[[], AbstractContextManager[object]]


def connect(
    path: Path, migrations: Sequence[Migration], *, what: str, alone: Alone = contextlib.nullcontext
) -> sqlite3.Connection:
    """Open or create the database at ``path`` and bring its schema up to date.

    ``migrations`` are applied once each, in order; the schema's version is their count. Missing ones run in one
    transaction, with the record that they have run: a database has its old schema or the current one. A database that
    is not empty is first copied to ``NAME.v1.db`` next to it, and migrated inside ``alone()``. ``what`` is the
    database's name in messages. Raises StateError for a database that is newer than this program, damaged, in use by an
    earlier version, or not writable.
    """
    try:
        private_folder(path.parent)
        if not path.exists():
            private_open(path, "ab").close()
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise state_error(error, path, what) from error
    try:
        db.row_factory = sqlite3.Row
        with explained(path, what):
            use_wal(db)
            # FULL: what the ledger recorded before a call must survive a power cut.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            _migrate(db, migrations, path, what, alone)
    except BaseException:
        db.close()
        raise
    return db


class Database:
    """An open database, as :func:`connect` opens it."""

    def __init__(
        self, path: Path, migrations: Sequence[Migration], *, what: str, alone: Alone = contextlib.nullcontext
    ) -> None:
        self.path = path
        self._db = connect(path, migrations, what=what, alone=alone)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection itself, for statements that belong to another room or join other databases to this one."""
        return self._db


def use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL, once: while another process switches, SQLite says "locked" at once, whatever the timeout."""
    for left in range(_SWITCH_TRIES, -1, -1):
        if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not left or "locked" not in str(error):
                raise
            time.sleep(_SWITCH_PAUSE)


def _migrate(db: sqlite3.Connection, migrations: Sequence[Migration], path: Path, what: str, alone: Alone) -> None:
    if _version(db, migrations, path, what) == len(migrations):
        return
    # What `alone` holds is released after the commit. Within the transaction no other process can write, so the copy
    # is complete; if two processes open the database at once, the second finds the work done.
    with contextlib.ExitStack() as held, transaction(db):
        version = _version(db, migrations, path, what)
        if 0 < version < len(migrations):
            held.enter_context(alone())
            _back_up(path, version)
        for migration in migrations[version:]:
            migration(db)
        db.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(db: sqlite3.Connection, migrations: Sequence[Migration], path: Path, what: str) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StateError(
            f"The {what} was written by a newer gemini-batch (schema {version}; this version supports "
            f"{len(migrations)}).",
            file=path,
            code="ledger_too_new",
            next="Update gemini-batch, or set GEMINI_BATCH_HOME to another folder.",
        )
    return version


def _back_up(path: Path, version: int) -> None:
    """Copy a database of an earlier schema to ``NAME.v1.db``: complete and synced before it is renamed into place.

    The caller holds the write transaction; a second connection reads what is not changed yet. An earlier copy is never
    replaced: it is kept if it is equal; otherwise, the new one is ``NAME.v1-2.db``.
    """
    part = path.with_name(f".{path.stem}.v{version}.part")
    part.unlink(missing_ok=True)
    try:
        part.touch(mode=0o600)  # no other user may read it
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("VACUUM INTO CAST(? AS TEXT)", (os.fsencode(part),))  # a path need not be text
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        for number in itertools.count(1):
            target = path.with_name(f"{path.stem}.v{version}{f'-{number}' if number > 1 else ''}{path.suffix}")
            if not target.exists():
                part.replace(target)
                sync_folder(path.parent)
                return
            if filecmp.cmp(part, target, shallow=False):
                return
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One IMMEDIATE transaction, all or nothing. Raises the first error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def run_all(db: sqlite3.Connection, statements: Iterable[str]) -> None:
    """Run statements one after the other."""
    for statement in statements:
        db.execute(statement)


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn errors of SQLite and the file system into StateErrors that name the database and the next step."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise state_error(error, path, what) from error


def state_error(error: Exception, path: Path, what: str) -> StateError:
    """What an error of SQLite or of the file system means for a user."""
    text = str(error).lower()
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or "disk is full" in text or "disk full" in text:
        return StateError(
            f"The disk is full; the {what} could not be written.",
            file=path,
            code="disk_full",
            next="Free some space and run the same command again. Nothing that was written before is lost.",
        )
    if "locked" in text or "busy" in text:
        return StateError(
            f"The {what} is in use by another process.", file=path, code="locked", next="Run the same command again."
        )
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return StateError(
            f"The {what} is damaged ({error}).",
            file=path,
            code="damaged",
            next="Move it away (do not delete it: it names your jobs), or set GEMINI_BATCH_HOME to another folder."
            if what == "ledger"
            else "Delete this file; the next command makes it again from the runs."
            if what == INDEX
            else "Set GEMINI_BATCH_HOME to a new folder, then fetch the results by the job's name: the service keeps "
            "them for days or weeks.",
        )
    if (
        number in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
        or "unable to open" in text
        or "readonly" in text
    ):
        return StateError(
            f"The {what} cannot be written ({error}).",
            file=path,
            code="not_writable",
            next="Set GEMINI_BATCH_HOME to a folder that you can write to.",
        )
    return StateError(f"An error occurred in the {what}: {error}.", file=path)
