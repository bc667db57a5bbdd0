"""Guards of the migration of both databases: paid jobs are in them."""

from __future__ import annotations

from mutation.breakage import Breakage

COPIES = "tests/store/test_copies.py"
KEEPING_OUT = "tests/store/test_keeping_out.py"
MIGRATIONS = "tests/store/test_migrations.py"

MIGRATING = (
    Breakage(
        guard="a database is copied before it is migrated",
        file="store/sqlite.py",
        old="            _back_up(path, version)\n",
        new="",
        tests=(
            f"{COPIES}::test_the_copy_is_whole_and_private",
            f"{COPIES}::test_a_full_disk_while_copying_changes_nothing",
            "tests/store/test_recorded.py::test_a_run_goes_on",
        ),
    ),
    Breakage(
        guard="a copy is on the disk before it has its name",
        file="store/sqlite.py",
        old="            os.fsync(file.fileno())\n",
        new="            pass\n",
        tests=(f"{COPIES}::test_a_full_disk_while_copying_changes_nothing",),
    ),
    Breakage(
        guard="nobody else may read a copy",
        file="store/sqlite.py",
        old="part.touch(mode=0o600)",
        new="part.touch()",
        tests=(f"{COPIES}::test_the_copy_is_whole_and_private",),
    ),
    Breakage(
        guard="a copy never replaces an earlier one",
        file="store/sqlite.py",
        old="            if not target.exists():\n                part.replace(target)",
        new="            if True:\n                part.replace(target)",
        tests=(f"{COPIES}::test_a_copy_is_never_replaced",),
    ),
    Breakage(
        guard="steps and their record are one transaction",
        file="store/sqlite.py",
        old="with contextlib.ExitStack() as held, transaction(db):",
        new="with contextlib.ExitStack() as held:",
        tests=(
            f"{MIGRATIONS}::test_a_crash_at_each_statement",
            f"{MIGRATIONS}::test_death_after_the_last_statement",
            f"{KEEPING_OUT}::test_one_waits_while_another_migrates",
        ),
    ),
    Breakage(
        guard="a database that a newer version migrates meanwhile is refused",
        file="store/sqlite.py",
        old="        version = _version(db, migrations, path, what)\n",
        new='        version = int(db.execute("PRAGMA user_version").fetchone()[0])\n',
        tests=(f"{MIGRATIONS}::test_one_that_a_newer_version_migrates_meanwhile",),
    ),
    Breakage(
        guard="no ledger is migrated while another process works on a run",
        file="store/state_folder.py",
        old="return Ledger(self.ledger_path, alone=self._no_run_in_use)",
        new="return Ledger(self.ledger_path)",
        tests=(
            f"{KEEPING_OUT}::test_the_ledger_waits_for_a_run_that_is_worked_on",
            f"{KEEPING_OUT}::test_commands_while_a_run_is_worked_on",
        ),
    ),
    Breakage(
        guard="no rows are migrated while another process works on their run",
        file="store/state_folder.py",
        old="return Rows(self.row_database, alone=self.not_in_use)",
        new="return Rows(self.row_database)",
        tests=(f"{KEEPING_OUT}::test_rows_wait_for_the_run_that_is_worked_on",),
    ),
    Breakage(
        guard="the lock of this process hinders no migration",
        file="store/state_folder.py",
        old="        if self.path.resolve() in _HELD:\n",
        new="        if self.path in _HELD:\n",
        tests=(f"{KEEPING_OUT}::test_this_process_lock_hinders_nothing",),
    ),
)
