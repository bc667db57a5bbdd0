"""One process migrates, the others wait; and none does while another works on a run."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from gemini_batch.errors import StateError
from gemini_batch.store.ledger.migrations import LEDGER
from gemini_batch.store.rows.migrations import ROWS
from gemini_batch.store.sqlite import connect
from gemini_batch.store.state_folder import StateFolder
from store.databases import content, copies, opened, version
from store.record import RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from store.conftest import Old


def test_one_waits_while_another_migrates(first: Path) -> None:
    """The second one neither copies nor migrates, and sees the current schema."""
    entered: list[str] = []
    second = threading.Thread(target=lambda: opened(first, LEDGER, alone=lambda: alone("second")))

    @contextlib.contextmanager
    def alone(name: str) -> Iterator[None]:
        entered.append(name)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert version(first) == 1
        yield

    opened(first, LEDGER, alone=lambda: alone("first"))
    second.join()

    assert entered == ["first"]
    assert version(first) == len(LEDGER)
    assert copies(first.parent) == ["ledger.v1.db"]


def test_processes_that_open_it_at_once(old: Old) -> None:
    """All of them succeed: that another one migrates does not look like another one working on a run."""
    program = (
        "import sys, pathlib; from gemini_batch.store.state_folder import StateFolder\n"
        "input()\n"
        "with StateFolder(pathlib.Path(sys.argv[1])).ledger() as ledger: print(len(list(ledger.jobs())))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, old.offline.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    found = [process.communicate("\n", timeout=60) for process in processes]

    jobs = sum(len(run.stages) for run in RUNS.values())
    assert found == [(f"{jobs}\n", "")] * 3
    assert copies(old.offline.path) == ["ledger.v1.db"]


def test_threads_that_open_rows_at_once_under_this_process_lock(old: Old) -> None:
    folder = old.offline.run(old.run_id("run-of-three"))
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with folder.rows() as rows:
                assert rows.count() == 3
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    with folder.lock(wait=0.0):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert errors == []
    assert copies(folder.path) == ["rows.v1.db"]


# Held locks ----------------------------------------------------------------------------------------------------------

HOLD = (
    "import sys, filelock\n"
    "with filelock.FileLock(sys.argv[1]): print('held', flush=True); input()"
)  # fmt: skip


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Another process works on the run in this folder."""
    command = [sys.executable, "-c", HOLD, str(folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("\n")


def refused(opening: Callable[[], object], folder: Path) -> None:
    """It ends with exit code 3, names the run, and says what to do."""
    with pytest.raises(StateError, match=r"earlier gemini-batch .* still working on this run") as caught:
        opening()
    assert (caught.value.exit_code, caught.value.reason_code) == (3, "locked")
    assert caught.value.file == str(folder)
    assert "run the same command again" in str(caught.value.next)


def test_the_ledger_waits_for_a_run_that_is_worked_on(old: Old) -> None:
    ledger, folder = old.offline.ledger_path, old.offline.run(old.run_id("planned-session"))
    before = content(ledger)
    with held(folder.path):
        refused(old.offline.ledger, folder.path)

        assert (version(ledger), content(ledger), copies(ledger.parent)) == (1, before, [])

    old.offline.ledger().close()
    assert version(ledger) == len(LEDGER)


def test_rows_wait_for_the_run_that_is_worked_on(old: Old) -> None:
    """Even where the ledger was migrated when nobody was working."""
    old.offline.ledger().close()
    folder = old.offline.run(old.run_id("run-of-three"))
    before = content(folder.row_database)
    with held(folder.path):
        refused(folder.rows, folder.path)
        old.offline.run(old.run_id("collected")).rows().close()  # no one works on that one

        assert (version(folder.row_database), content(folder.row_database)) == (1, before)
        assert copies(folder.path) == []

    folder.rows().close()
    assert version(folder.row_database) == len(ROWS)


def test_commands_while_a_run_is_worked_on(old: Old) -> None:
    """Those that only read say what to do, too, and succeed afterwards; a migrated folder asks nobody."""
    folder = old.offline.run(old.run_id("run-of-three")).path
    commands = [("list",), ("status", old.job("created")), ("run", "run-of-three.jsonl"), ("create", "planned.jsonl")]
    with held(folder):
        for words in commands:
            done = old.type(*words)
            assert (done.code, done.out) == (3, ""), words
            assert "still working on this run" in done.err
            assert "Wait for that process to finish" in done.err
        assert version(old.offline.ledger_path) == 1

    for words in commands[:2]:
        assert old.type(*words).code == 0
    with held(folder):
        for words in commands[:2]:
            assert old.type(*words).code == 0


def test_an_offline_ledger_asks_for_its_own_runs_only(old: Old) -> None:
    """Work on a real run holds up nobody who works offline; and a real ledger is held to its own runs."""
    real = StateFolder(old.folder / "home")
    opened(real.ledger_path, LEDGER[:1])
    folder = real.run("run-real")
    folder.path.mkdir(parents=True)
    with held(folder.path):
        refused(real.ledger, folder.path)
        old.offline.ledger().close()

        assert (version(real.ledger_path), version(old.offline.ledger_path)) == (1, len(LEDGER))


def test_this_process_lock_hinders_nothing(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock is of this version; by whatever path the folder is named."""
    folder = old.offline.run(old.run_id("run-of-three"))
    monkeypatch.chdir(folder.path.parent)
    (old.folder / "link").symlink_to(old.offline.path, target_is_directory=True)
    by_link = StateFolder(old.folder / "link")

    with folder.lock(wait=0.0):
        by_link.run(folder.path.name).rows().close()
        by_link.ledger().close()

    assert (version(folder.row_database), version(old.offline.ledger_path)) == (len(ROWS), len(LEDGER))
    with folder.lock(wait=0.0):
        pass


def test_more_runs_than_a_process_may_open_files(first: Path) -> None:
    """And what is no run folder is none of a migration's business."""
    runs = first.parent / "runs"
    for number in range(200):
        (runs / f"run-{number}").mkdir(parents=True)
    (runs / "run-copy.tar").touch()
    opening = (
        "import sys, pathlib; from gemini_batch.store.state_folder import StateFolder\n"
        "StateFolder(pathlib.Path(sys.argv[1])).ledger().close()"
    )

    done = subprocess.run(
        [sys.executable, "-c", opening, first.parent],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
    )

    assert done.returncode == 0, done.stderr
    assert version(first) == len(LEDGER)


def test_an_earlier_version_that_slept_writes_nothing(first: Path) -> None:
    """A process of 1.0.0 that only waits holds no lock; what it does next fails before it could spend."""
    with contextlib.closing(connect(first, LEDGER[:1], what="ledger")) as sleeping:
        sleeping.execute("SELECT life FROM jobs").fetchall()
        opened(first, LEDGER)

        for statement in ("SELECT life FROM jobs", "UPDATE jobs SET life = 'intended', sends = sends + 1"):
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                sleeping.execute(statement)
