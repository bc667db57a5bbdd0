"""How both databases are opened: WAL, explicit transactions, append-only migrations, and errors with a next step."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gemini_batch.errors import StateError
from gemini_batch.jsonl import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


#: How long a writer waits for another process's transaction, in seconds. Transactions here are short, but collecting
#: a very large job is one.
BUSY_SECONDS = 60.0
#: How often, and after how many seconds each, a new database is tried again that another process is just making.
_SWITCH_TRIES, _SWITCH_PAUSE = 200, 0.05


#: A step of a schema, and what is entered before an existing database is migrated: whoever may be using it is kept out.
Migration = Callable[[sqlite3.Connection], None]
Alone = Callable[[], AbstractContextManager[object]]


def connect(
    path: Path, migrations: Sequence[Migration], *, what: str, alone: Alone = contextlib.nullcontext
) -> sqlite3.Connection:
    """Open (or make) the database at ``path`` and bring its schema up to date.

    ``migrations`` are applied once each and in order; the schema's version is their count. A database that holds
    something is copied first, to ``NAME.v1.db`` next to it, and migrated inside ``alone()``. ``what`` is the database's
    name in messages. Raises StateError for one that is newer than this program, damaged, in use by an earlier version,
    or in a place that cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise state_error(error, path, what) from error
    try:
        db.row_factory = sqlite3.Row
        with explained(path, what):
            _use_wal(db)
            # FULL: what the ledger said before a call must still be said after a power cut.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            _migrate(db, migrations, path, what, alone)
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
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
    version = _version(db)
    if version == len(migrations):
        return
    if version > len(migrations):
        raise StateError(
            f"The {what} was written by a newer gemini-batch (schema {version}, this one knows {len(migrations)}).",
            file=path,
            code="ledger_too_new",
            next="Update gemini-batch, or set GEMINI_BATCH_HOME to another folder.",
        )
    if version == 0:
        with transaction(db):
            if _version(db) == 0:  # else another process was quicker
                for migration in migrations:
                    migration(db)
                _set_version(db, len(migrations))
        return
    with alone():
        _back_up(db, path, version)
        for number in range(version, len(migrations)):
            with transaction(db):
                if _version(db) == number:
                    migrations[number](db)
                    _set_version(db, number + 1)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _set_version(db: sqlite3.Connection, version: int) -> None:
    db.execute(f"PRAGMA user_version = {version}")


def _back_up(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy a database of an earlier schema to ``NAME.v1.db``: complete and synced before it has its name."""
    target = path.with_name(f"{path.stem}.v{version}{path.suffix}")
    if target.exists() or _version(db) != version:
        return
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(part),))
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    sync_folder(path.parent)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One IMMEDIATE transaction: all of it or nothing. The first error is the one that is raised."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn SQLite's and the file system's errors into StateErrors that name the database and the next step."""
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
            next="Make room and run the same command again; nothing that was written before is lost.",
        )
    if "locked" in text or "busy" in text:
        return StateError(
            f"The {what} is in use by another process.", file=path, code="locked", next="Run the command again."
        )
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return StateError(
            f"The {what} is damaged ({error}).",
            file=path,
            code="damaged",
            next="Move it away (do not delete it: it names your jobs) or set GEMINI_BATCH_HOME to another folder.",
        )
    if (
        number in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
        or "unable to open" in text
        or "readonly" in text
    ):
        return StateError(
            f"The {what} cannot be written there ({error}).",
            file=path,
            code="not_writable",
            next="Set GEMINI_BATCH_HOME to a folder that you may write to.",
        )
    return StateError(f"The {what} failed: {error}.", file=path)
