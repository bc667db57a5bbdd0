"""A database is copied before it is migrated: whole, private, and never over an earlier copy."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gemini_batch.errors import StateError
from gemini_batch.store import sqlite
from gemini_batch.store.ledger.migrations import LEDGER
from store.databases import content, copies, opened, version

if TYPE_CHECKING:
    from pathlib import Path


def test_the_copy_is_whole_and_private(first: Path) -> None:
    """What another process has committed and not yet written back is in it, and nobody else may read it."""
    first.chmod(0o644)
    with contextlib.closing(sqlite3.connect(first, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("INSERT INTO meta VALUES ('salt', '00')")
        opened(first, LEDGER)
        copy = first.with_suffix(".v1.db")

        assert content(copy)["meta"] == [{"name": "salt", "value": "00"}]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copies(first.parent) == ["ledger.v1.db"]


def test_a_copy_is_never_replaced(first: Path) -> None:
    """Whoever goes back to a copy, works with the earlier version, and comes again, gets another copy."""
    opened(first, LEDGER)
    copy = first.with_suffix(".v1.db")
    kept = copy.read_bytes()
    for change in ("salt", "more"):
        for path in first.parent.glob("ledger.db*"):
            path.unlink()
        first.write_bytes(kept)
        with contextlib.closing(sqlite3.connect(first)) as db, db:
            db.execute("INSERT INTO meta VALUES (?, '')", (change,))

        opened(first, LEDGER)

    assert copies(first.parent) == ["ledger.v1-2.db", "ledger.v1-3.db", "ledger.v1.db"]
    assert copy.read_bytes() == kept
    assert content(first.with_name("ledger.v1-3.db"))["meta"] == [{"name": "more", "value": ""}]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only on Linux")
def test_the_name_of_the_folder_need_not_be_text(first: Path) -> None:
    folder = first.parent / os.fsdecode(b"home-\xff")
    folder.mkdir()
    there = first.rename(folder / first.name)

    opened(there, LEDGER)

    assert copies(folder) == ["ledger.v1.db"]


def test_several_steps_need_one_copy(first: Path) -> None:
    def third(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE meta ADD COLUMN third TEXT")

    opened(first, (*LEDGER, third))

    assert version(first) == len(LEDGER) + 1
    assert copies(first.parent) == ["ledger.v1.db"]


def test_a_new_database_needs_no_copy_and_asks_nobody(tmp_path: Path) -> None:
    def alone() -> contextlib.AbstractContextManager[None]:
        raise AssertionError("nobody can be using it")

    opened(tmp_path / "ledger.db", LEDGER, alone=alone)
    opened(tmp_path / "ledger.db", LEDGER, alone=alone)

    assert copies(tmp_path) == []


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_while_copying_changes_nothing(first: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    before = content(first)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if at == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(sqlite, "sync_folder", full)
        with pytest.raises(StateError) as caught:
            opened(first, LEDGER)

    assert (caught.value.exit_code, caught.value.reason_code) == (3, "disk_full")
    assert (version(first), content(first)) == (1, before)
    assert copies(first.parent) == ([] if at == "fsync" else ["ledger.v1.db"])
    opened(first, LEDGER)
    assert copies(first.parent) == ["ledger.v1.db"]


OPEN = (
    "import sys, pathlib; from gemini_batch.store.ledger.ledger import Ledger\n"
    "Ledger(pathlib.Path(sys.argv[1])).close()"
)


def test_no_room_for_the_copy(first: Path) -> None:
    """The system itself refuses to make the copy as large as it has to be."""
    with contextlib.closing(sqlite3.connect(first)) as db, db:
        db.execute("INSERT INTO meta VALUES ('large', ?)", ("x" * 200_000,))
    before, room = content(first), 100_000

    done = subprocess.run(
        [sys.executable, "-c", OPEN, first],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )

    assert "StateError" in done.stderr
    assert (version(first), content(first), copies(first.parent)) == (1, before, [])
