"""Rows that jobs of other runs may still answer are not sent, whatever state both runs are in."""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.errors import Error
from gemini_batch.store.ledger.run_options import RequestOverrides
from memory.nights import Home, answers, right, write

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [(f"k{number}", f"text {number}") for number in range(6)]
MORE = [*ROWS, ("new", "news")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("what", ["current", "rows of an earlier version", "claims of an earlier version"])
def test_what_is_planned_is_looked_up_again(home: Home, call: int, what: str) -> None:
    """Nothing of the run waits, and its rows may have been sent since by another one."""
    write(home.file, ROWS)
    assert home.killed(call, "before", home.run)
    assert not home.service.jobs
    planned = home.file.read_bytes()
    if what == "rows of an earlier version":
        for database in (home.folder / "home").glob("runs/*/rows.db"):
            with closing(sqlite3.connect(database)) as db, db:
                db.execute("UPDATE requests SET fingerprint = NULL, body = NULL")
    home.create(MORE)
    if what == "claims of an earlier version":
        with closing(sqlite3.connect(home.folder / "home" / "ledger.db")) as db, db:
            db.execute("DELETE FROM claims")
    home.file.write_bytes(planned)

    found = home.run()

    assert answers(found) == right(ROWS)
    assert set(home.service.sent().values()) == {1}


def lost(home: Home) -> str:
    """A run whose only job the service does not show; its id."""
    home.service.polls_to_end = 10**9
    home.create(ROWS)
    home.service.jobs[0].deleted = True
    return home.run().summary.run


def look_again(home: Home, run: str) -> None:
    """Somebody asks for the requests of a lost job again, and the service shows the job."""
    home.service.jobs[0].deleted = False
    home.service.clock.pass_by(100)
    again = RetrySelection(verdicts=("missing",), overrides=RequestOverrides())
    with contextlib.suppress(Error):  # it waits for that job
        home.do(lambda session: retry(session, run, again))


def test_a_job_that_is_shown_again_claims_its_rows(home: Home) -> None:
    """It was lost when the other run was planned."""
    first = lost(home)
    assert home.killed(2, "before", lambda: home.run(MORE))
    look_again(home, first)
    assert len(home.service.jobs) == 1
    home.service.polls_to_end = 0

    home.run()

    assert set(home.service.sent().values()) == {1}


def test_a_job_that_is_shown_again_while_another_run_sends(home: Home) -> None:
    first = lost(home)
    home.service.polls_to_end, home.service.most_jobs = 2, 1
    other = Home(home.folder, home.service)
    began: list[int] = []

    def meanwhile(number: int) -> None:
        if began:
            return
        began.append(number)
        home.service.jobs[0].looks, home.service.most_jobs = -100, 2
        with ThreadPoolExecutor() as process:
            process.submit(look_again, other, first).result()

    home.service.on_download = meanwhile

    home.run([("new", "news"), *ROWS], most=1)

    assert began
    assert set(home.service.sent().values()) == {1}
