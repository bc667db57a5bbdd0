"""What a migration makes, what a crash in it leaves, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.errors import StateError
from gemini_batch.store import sqlite
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.migrations import LEDGER
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions, kept_options
from gemini_batch.store.rows.migrations import ROWS
from gemini_batch.store.rows.rows import Rows
from store.databases import BOTH, MADE_LATER, content, copies, opened, schema, version
from store.record import RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gemini_batch.store.sqlite import Migration
    from store.conftest import Old


# What a migration makes ----------------------------------------------------------------------------------------------


def test_the_first_step_is_the_schema_of_the_first_version(old: Old, tmp_path: Path) -> None:
    opened(tmp_path / "ledger.db", LEDGER[:1])
    opened(tmp_path / "rows.db", ROWS[:1])

    assert schema(old.offline.ledger_path) == schema(tmp_path / "ledger.db")
    for path in old.offline.path.glob("runs/*/rows.db"):
        found = [one for one in schema(path) if one[1] not in MADE_LATER]
        assert found == schema(tmp_path / "rows.db")


@BOTH
def test_a_migrated_database_is_as_a_new_one(tmp_path: Path, migrations: Sequence[Migration]) -> None:
    opened(tmp_path / "new.db", migrations)
    for before in range(1, len(migrations)):
        opened(tmp_path / f"{before}.db", migrations[:before])
        assert schema(tmp_path / f"{before}.db") != schema(tmp_path / "new.db")

        opened(tmp_path / f"{before}.db", migrations)

        assert schema(tmp_path / f"{before}.db") == schema(tmp_path / "new.db")
        assert version(tmp_path / f"{before}.db") == len(migrations)


def test_every_row_is_as_it_was(old: Old) -> None:
    """All tables of the ledger and of every run that 1.0.0 has recorded."""
    ledger = old.offline.ledger_path
    runs = [path.parent for path in old.offline.path.glob("runs/*/rows.db")]
    before = {path: content(path) for path in (ledger, *(run / "rows.db" for run in runs))}

    old.offline.ledger().close()
    for run in runs:
        old.offline.run(run.name).rows().close()

    assert len(runs) == len(RUNS) - 1  # one was adopted and never downloaded
    assert sum(map(len, before[ledger].values())) > 200
    assert {path: content(path) for path in before} == before
    assert {content(path.with_suffix(".v1.db")) == found for path, found in before.items()} == {True}


def test_a_run_that_was_forgotten_stays_so(old: Old) -> None:
    """``clean --not-created`` of 1.0.0 gave up its job; nothing else is forgotten."""
    run = old.run_id("forgotten")
    dropped = old.ask("SELECT run, dropped_at FROM jobs WHERE dropped_at IS NOT NULL")

    old.offline.ledger().close()

    assert [found[0] for found in dropped] == [run]
    assert old.ask("SELECT id, forgotten_at FROM runs WHERE forgotten_at IS NOT NULL") == dropped


@pytest.mark.parametrize(
    ("kept", "options"),
    [
        ('{"max_requests_per_job":1,"tier":null,"change":null}', RunOptions(max_requests_per_job=1)),
        ('{"attempts":2,"name":"größer \\"x\\" \U0001f600"}', RunOptions(attempts=2, name='größer "x" \U0001f600')),
        (
            '{"name":null,"change":{"max_output_tokens":100,"temperature":0.1,"model":"change"}}',
            RunOptions(overrides=RequestOverrides(max_output_tokens=100, temperature=0.1, model="change")),
        ),
        ('{"tier":3,"change":{"temperature":0.0}}', RunOptions(tier=3, overrides=RequestOverrides(temperature=0.0))),
        (None, RunOptions()),
    ],
)
def test_kept_options_are_rewritten(first: Path, kept: str | None, options: RunOptions) -> None:
    with contextlib.closing(sqlite3.connect(first)) as db, db:
        db.execute("UPDATE runs SET options = ?", (kept,))

    with Ledger(first) as ledger:
        run = ledger.run("run-a")

    assert run is not None
    assert kept_options(run) == options
    assert "change" not in json.loads(run.options or "{}")
    assert (run.options is None) is (kept is None)


def test_answers_that_were_judged_before_have_no_message(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    opened(path, ROWS[:2])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO requests VALUES (0, 1, 'a', 0, 0, 9, 0, NULL, 1, 1, 1, 0, 1)")
        db.execute("INSERT INTO answer_files VALUES (1, 'run-a-1', 'run-a-1.jsonl', 9, '', 1, 'NO_LINE')")
        db.execute("INSERT INTO answers VALUES (1, 0, 1, 1, 0, 9, 'failed', 'INTERNAL', 1, 0, 0, 0, 0, 0, 0, 0)")

    with Rows(path) as rows:
        (found,) = rows.reasons()
        (failure,) = rows.failures()

    assert (found.verdict, found.reason, found.message, found.keys) == ("failed", "INTERNAL", None, ["a"])
    assert failure.message is None


def test_claims_of_an_earlier_version_hold(first: Path) -> None:
    """A living job claims the same rows, sorted."""
    opened(first, LEDGER[:8])
    with contextlib.closing(sqlite3.connect(first)) as db, db:
        db.execute(
            "INSERT INTO jobs (id, run, ordinal, model, requests, tokens, offset, bytes, input_kind, display_name, "
            "stage) VALUES ('run-a-1', 'run-a', 1, 'm', 2, 9, 0, 9, 'file', 'a', 'created')"
        )
        db.executemany("INSERT INTO claims VALUES (?, 'run-a-1')", [(bytes([n]) * 16,) for n in (7, 3)])

    opened(first, LEDGER)

    with contextlib.closing(sqlite3.connect(first)) as db:
        (found,) = db.execute("SELECT job, fingerprints FROM claims").fetchall()
    assert found == ("run-a-1", b"\3" * 16 + b"\7" * 16)


# Crashes -------------------------------------------------------------------------------------------------------------


class Crashing:
    """A connection that fails before its statement number ``left``."""

    def __init__(self, db: sqlite3.Connection, left: int) -> None:
        self._db, self.left = db, left

    def execute(self, *words: Any) -> sqlite3.Cursor:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self._db.execute(*words)


def statements(migrations: Sequence[Migration]) -> int:
    """How many statements the last step has."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for step in migrations[:-1]:
            step(db)
        counting = Crashing(db, 1000)
        migrations[-1](counting)  # type: ignore[arg-type]
    return 1000 - counting.left


STEPS = [
    pytest.param(steps, left, id=f"{name}-{left}")
    for name, steps in (("ledger", LEDGER), ("rows", ROWS))
    for left in range(statements(steps) + 1)
]


@pytest.mark.parametrize(("migrations", "left"), STEPS)
def test_a_crash_at_each_statement(tmp_path: Path, migrations: Sequence[Migration], left: int) -> None:
    """The database is as the earlier version made it; the next one that opens it completes the work."""
    path = tmp_path / "some.db"
    opened(path, migrations[:-1])
    old_schema, old_content = schema(path), content(path)

    def crashing(db: sqlite3.Connection) -> None:
        migrations[-1](Crashing(db, left))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(path, (*migrations[:-1], crashing))

    assert (version(path), schema(path), content(path)) == (len(migrations) - 1, old_schema, old_content)
    opened(path, migrations[:-1])
    opened(path, migrations)
    opened(tmp_path / "new.db", migrations)
    assert schema(path) == schema(tmp_path / "new.db")
    assert copies(tmp_path) == [f"some.v{len(migrations) - 1}.db"]


def test_death_after_the_last_statement(first: Path) -> None:
    """A process that is gone before it commits has changed nothing, and its copy is not made twice."""
    before = content(first)
    dying = (
        "import os, sys, pathlib; from gemini_batch.store import sqlite\n"
        "from gemini_batch.store.ledger import migrations as m\n"
        "def step(db): m.LEDGER[1](db); os._exit(9)\n"
        "sqlite.connect(pathlib.Path(sys.argv[1]), (m.LEDGER[0], step), what='ledger')"
    )

    done = subprocess.run([sys.executable, "-c", dying, first], check=False)

    assert done.returncode == 9
    assert (version(first), content(first)) == (1, before)
    assert copies(first.parent) == ["ledger.v1.db"]
    opened(first, LEDGER)
    assert content(first) == before
    assert copies(first.parent) == ["ledger.v1.db"]


def test_a_copy_that_a_killed_process_began_is_made_again(first: Path) -> None:
    (first.parent / ".ledger.v1.part").write_bytes(b"half a copy")

    opened(first, LEDGER)

    assert content(first.with_suffix(".v1.db"))["runs"]
    assert copies(first.parent) == ["ledger.v1.db"]


# Refusals ------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_database_of_a_newer_version(tmp_path: Path, migrations: Sequence[Migration]) -> None:
    path = tmp_path / "some.db"
    opened(path, migrations)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")

    supported = rf"newer gemini-batch \(schema 99; this version supports {len(migrations)}\)"
    with pytest.raises(StateError, match=supported) as caught:
        Ledger(path) if migrations is LEDGER else Rows(path)

    assert (caught.value.exit_code, caught.value.reason_code) == (3, "ledger_too_new")
    assert "Update gemini-batch" in str(caught.value.next)
    assert (version(path), copies(tmp_path)) == (99, [])


def test_one_that_a_newer_version_migrates_meanwhile(first: Path) -> None:
    """Between two reads of the version; it is refused as well, and not taken for this version's own."""

    def meanwhile(*_: object) -> None:
        with contextlib.closing(sqlite3.connect(first)) as db:
            db.execute("PRAGMA user_version = 99")

    with contextlib.closing(sqlite3.connect(first, isolation_level=None, factory=_Meanwhile)) as db:
        db.meanwhile = meanwhile
        with pytest.raises(StateError, match="newer gemini-batch"):
            sqlite._migrate(db, LEDGER, first, "ledger", contextlib.nullcontext)

    assert (version(first), copies(first.parent)) == (99, [])


class _Meanwhile(sqlite3.Connection):
    """A connection in front of whose first transaction something else happens."""

    meanwhile: Callable[[], None]

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self.meanwhile()
        return super().execute(sql, *values)


def test_a_damaged_database_is_not_migrated(first: Path) -> None:
    """No copy can be made of it, so it is left as it is."""
    with contextlib.closing(sqlite3.connect(first)) as db, db:
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(str(n), "x" * 500) for n in range(200)])
    damaged = bytearray(first.read_bytes())
    damaged[-40_000:-20_000] = bytes(20_000)
    first.write_bytes(damaged)

    with pytest.raises(StateError) as caught:
        opened(first, LEDGER)

    assert (caught.value.exit_code, caught.value.reason_code) == (3, "damaged")
    assert (version(first), copies(first.parent)) == (1, [])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(first: Path) -> None:
    opened(first.with_name("other.db"), LEDGER[:1])
    before = content(first)
    first.parent.chmod(0o500)
    try:
        with pytest.raises(StateError) as caught:
            opened(first, LEDGER)
    finally:
        first.parent.chmod(0o700)

    assert (caught.value.exit_code, caught.value.reason_code) == (3, "not_writable")
    assert (version(first), content(first), copies(first.parent)) == (1, before, [])
