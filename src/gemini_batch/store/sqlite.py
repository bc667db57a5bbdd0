"""How both databases are opened: WAL, explicit transactions, append-only migrations, and errors with a next step."""

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
from gemini_batch.jsonl import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


#: How long a writer waits for another process's transaction, in seconds. Transactions here are short, but collecting
#: a very large job is one.
BUSY_SECONDS = 60.0
#: How often, and after how many seconds each, a new database is tried again that another process is just making.
_SWITCH_TRIES, _SWITCH_PAUSE = 200, 0.05


#: A step of a schema, and what is entered, within the transaction, before an existing database is migrated: it raises
#: StateError while another process may be using the database.
Migration = Callable[[sqlite3.Connection], None]
Alone = Callable[[], AbstractContextManager[object]]


def connect(
    path: Path, migrations: Sequence[Migration], *, what: str, alone: Alone = contextlib.nullcontext
) -> sqlite3.Connection:
    """Open (or make) the database at ``path`` and bring its schema up to date.

    ``migrations`` are applied once each and in order; the schema's version is their count. Those that are missing run
    in one transaction, together with the record that they have run: a database has its old schema or the current one.
    One that holds something is copied first, to ``NAME.v1.db`` next to it, and migrated inside ``alone()``. ``what`` is
    the database's name in messages. Raises StateError for one that is newer than this program, damaged, in use by an
    earlier version, or in a place that cannot be written.
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
    if _version(db, migrations, path, what) == len(migrations):
        return
    # What `alone` holds is released after the commit. Within the transaction no other process can write, so the copy
    # lacks nothing, and of two processes that open the database at once the second one finds the work done.
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
            f"The {what} was written by a newer gemini-batch (schema {version}, this one knows {len(migrations)}).",
            file=path,
            code="ledger_too_new",
            next="Update gemini-batch, or set GEMINI_BATCH_HOME to another folder.",
        )
    return version


def _back_up(path: Path, version: int) -> None:
    """Copy a database of an earlier schema to ``NAME.v1.db``: complete and synced before it has its name.

    The caller holds the write transaction; what it has not changed yet is read through a connection of its own. An
    earlier copy is never replaced: it stays where it is equal, else the new one is ``NAME.v1-2.db``.
    """
    part = path.with_name(f".{path.stem}.v{version}.part")
    part.unlink(missing_ok=True)
    try:
        part.touch(mode=0o600)  # nobody else has to read it
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("VACUUM INTO ?", (str(part),))
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
