"""Run folders after failures: none is left half made, and one that is odd costs itself only."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import request
from gemini_batch.store import sqlite
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Done, Shell


def runs(shell: Shell) -> set[str]:
    folder = shell.home / "offline" / "runs"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def in_ledger(shell: Shell) -> set[str]:
    with contextlib.closing(sqlite3.connect(shell.home / "offline" / "ledger.db")) as db:
        return {row[0] for row in db.execute("SELECT id FROM runs")}


# Failures while a run is made -----------------------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, "No space left on device")
SQL_FULL = sqlite3.OperationalError("database or disk is full")


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


#: What fails, and how: every write between the first byte of a run folder and its entry in the ledger.
FAILURES: dict[str, tuple[object, str, Exception, int]] = {
    "the rows cannot be written": (Rows, "load", sqlite.state_error(SQL_FULL, Path("rows.db"), "row database"), 3),
    "the keys cannot be compared": (Rows, "count_duplicates", SQL_FULL, 3),
    "the copy cannot be synced": (os, "fsync", FULL, 3),
    "the folder cannot be moved": (Path, "rename", OSError(errno.EACCES, "Permission denied"), 3),
    "the ledger cannot be written": (Ledger, "add_run", sqlite.state_error(SQL_FULL, Path("ledger.db"), "ledger"), 3),
    "something unforeseen": (Ledger, "add_run", RuntimeError("odd"), 3),
    "Ctrl-C": (Ledger, "newest_with_identity", KeyboardInterrupt(), 130),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_leaves_no_run_folder(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, failure: str
) -> None:
    """And the same command works as soon as the cause is gone."""
    shell.write("in.jsonl", request("a"))
    assert shell.run("list", "--offline").code == 0
    place, name, error, code = FAILURES[failure]
    with monkeypatch.context() as patched:
        patched.setattr(place, name, failing(error))
        done = shell.run(command, "in.jsonl", "--offline")

    assert done.code == code, done
    assert runs(shell) == set()
    assert in_ledger(shell) == set()
    assert shell.run(command, "in.jsonl", "--offline").code == 0
    assert runs(shell) == in_ledger(shell)
    assert len(runs(shell)) == 1


LINE = b'{"key":"a","request":{"contents":[{"parts":[{"text":"x"}]}]}}\n'
REFUSED = {
    "no JSON": (b"no json\n", ()),
    "a bad line after good ones": (LINE + b'{"key":1}\n', ()),
    "a repeated key": (LINE * 2, ()),
    "an unknown kind of model": (LINE, ("-m", "a/b c")),
    "a retired model": (LINE, ("-m", "gemini-1.5-pro")),
    "a name that cannot be shown": (
        LINE,
        ("-n", "a\x07"),
    ),
    "a name that is not text": (LINE, ("-n", "a\udcff")),
    "a model that is not text": (LINE, ("-m", "a\udcff")),
}


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_input_leaves_no_run_folder(shell: Shell, command: str, kind: str) -> None:
    data, more = REFUSED[kind]
    (shell.folder / "in.jsonl").write_bytes(data)

    assert shell.run(command, "in.jsonl", "--offline", *more).code == 2
    assert runs(shell) == set()


def test_an_adoption_that_fails_leaves_no_run_folder(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, gemini_emulator: Any
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    shell.write("in.jsonl", request("a"))
    name = shell.run("create", "in.jsonl").out.strip()
    shell.run("status", name, "--wait")
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(shell.home / "another"))
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "add_run", failing(sqlite.state_error(SQL_FULL, Path("ledger.db"), "ledger")))
        assert shell.run("results", name).code == 3

    assert list((shell.home / "another" / "runs").iterdir()) == []
    assert shell.run("results", name).code == 0


KILLED = """
import os, signal, sys
from gemini_batch import jsonl, start
from gemini_batch.store.{module}.{module} import {kind}

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{kind}.{name} = die
start.main(["create", "in.jsonl", "--offline"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("module", "kind", "name"),
    [("rows", "Rows", "load"), ("rows", "Rows", "count_duplicates"), ("ledger", "Ledger", "add_run")],
)
def test_what_a_killed_process_left_holds_nothing_up(
    shell: Shell, module: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tolerated by every command; a folder in preparation is removed by the next that makes one."""
    shell.write("in.jsonl", request("a"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(module=module, kind=kind, name=name)], cwd=shell.folder, check=False
    )
    assert done.returncode == -9
    (left,) = runs(shell)
    for path in (shell.home / "offline" / "runs").iterdir():
        os.utime(path, (1, 1))  # long ago

    assert shell.run("list", "--offline").code == 0
    assert shell.run("doctor", "--offline").code == 0
    made = shell.run("create", "in.jsonl", "--offline").out.strip()
    assert shell.run("results", made, "--offline").code in {0, 6}
    assert runs(shell) - ({left} if left.startswith("run-") else set()) == in_ledger(shell)


# Odd folders among good ones ------------------------------------------------------------------------------------------


def no_folder(run: Path) -> None:
    shutil.rmtree(run)


def no_rows(run: Path) -> None:
    for path in run.glob("rows.db*"):
        path.unlink()


def damaged_rows(run: Path) -> None:
    no_rows(run)
    (run / "rows.db").write_bytes(b"SQLite format 3\x00" + b"junk" * 500)


def rows_are_a_folder(run: Path) -> None:
    no_rows(run)
    (run / "rows.db").mkdir()


def no_requests(run: Path) -> None:
    (run / "requests.jsonl").unlink()


def requests_are_a_folder(run: Path) -> None:
    (run / "requests.jsonl").unlink()
    (run / "requests.jsonl").mkdir()


def empty(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


def a_file(run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("a file")


def odd_neighbours(run: Path) -> None:
    (run.parent / os.fsdecode(b"run-\xff\xfe")).mkdir()
    (run.parent / "run-empty").mkdir()
    (run.parent / "run-file").write_text("a file")
    (run.parent / ".new-left").mkdir()
    (run.parent / "notes.txt").write_text("notes")


DAMAGE = [
    no_folder,
    no_rows,
    damaged_rows,
    rows_are_a_folder,
    no_requests,
    requests_are_a_folder,
    empty,
    a_file,
    odd_neighbours,
]


@pytest.fixture
def two(shell: Shell) -> tuple[str, str, Path]:
    """A good job; and another of which some requests were not sent, with its run folder."""
    shell.write("good.jsonl", request("a"))
    shell.write("odd.jsonl", request("b"), request("c"))
    good = shell.run("create", "good.jsonl", "--offline").out.strip()
    shell.run("results", good)
    before = runs(shell)
    odd = shell.run("run", "odd.jsonl", "--offline", "--max-requests-per-job", "1").out.strip()
    (name,) = runs(shell) - before
    return good, odd, shell.home / "offline" / "runs" / name


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_an_odd_run_folder_costs_itself_only(shell: Shell, two: tuple[str, str, Path], damage: Any) -> None:
    good, _, folder = two
    damage(folder)

    listed = shell.run("list", "--offline")
    assert listed.code == 0, listed
    assert good in listed.out
    assert listed.out.count("batches/") == 3
    assert shell.run("status", good).code == 0
    assert shell.run("results", good, "-o", "out.jsonl").code == 0
    assert shell.run("doctor", "--offline").code in {0, 1}
    assert shell.run("clean", "--offline", "--yes").code == 0
    shell.write("new.jsonl", request("new"))
    assert shell.run("run", "new.jsonl", "--offline").code == 0


@pytest.mark.parametrize("damage", DAMAGE[:-1], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", ["status", "results", "run", "retry", "create"])
def test_the_odd_run_itself_is_named_and_nothing_is_paid_again(
    shell: Shell, two: tuple[str, str, Path], damage: Any, command: str
) -> None:
    _, odd, folder = two
    damage(folder)
    before = shell.run("list", "--offline").out.count("batches/")
    what = "odd.jsonl" if command == "create" else odd

    done: Done = shell.run(command, what, "--offline")

    assert done.code != 3 or "This is a fault in gemini-batch" not in done.err, done
    assert shell.run("list", "--offline").out.count("batches/") == before, done
