"""Rows that jobs of other runs may still answer are not sent, whatever state both runs are in."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.engine.telling import Teller
from gemini_batch.errors import Error, StateError
from gemini_batch.events import RunProgress
from gemini_batch.memory import claims
from gemini_batch.memory.fingerprint import SIZE
from gemini_batch.store.ledger.run_options import RequestOverrides
from memory.nights import Home, answers, right, write

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.wire import Operation
    from memory.nights import Row

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
    create, other = home.service.create, Home(home.folder, home.service)

    async def then_the_other(**what: Any) -> Operation:
        made: Operation = await create(**what)
        home.service.create = create  # type: ignore[method-assign]
        home.service.jobs[0].looks, home.service.most_jobs = -100, 2
        with ThreadPoolExecutor() as process:
            process.submit(look_again, other, first).result()
        return made

    home.service.create = then_the_other  # type: ignore[method-assign]

    home.run([("new", "news"), *ROWS], most=1)

    assert home.service.create == create
    assert set(home.service.sent().values()) == {1}


@pytest.mark.parametrize("rival", [ROWS, ROWS[:2]])
def test_the_progress_counts_what_another_run_has_answered_meanwhile(home: Home, rival: list[Row]) -> None:
    """Between the look-up and the create: no job of this run gives these answers."""
    upload, other = home.service.start_upload, Home(home.folder, home.service)

    async def first_the_other(**what: Any) -> str:
        home.service.start_upload = upload  # type: ignore[method-assign]
        planned = home.file.read_bytes()
        await asyncio.to_thread(other.run, [*rival, ("un", "related")])  # meanwhile, this run counts its rows
        home.file.write_bytes(planned)
        return await upload(**what)

    home.service.start_upload = first_the_other  # type: ignore[method-assign]

    assert answers(home.run(ROWS)) == right(ROWS)
    *_, last = (event for event in home.events if isinstance(event, RunProgress))
    assert (last.done, last.verdicts) == (6, {"succeeded": 6})


def test_a_folder_that_vanishes_is_not_made_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command says that it is gone, and not that it was changed."""
    count = Teller.count

    async def gone(self: Teller, *what: Any, **more: Any) -> None:
        for run in (home.folder / "home" / "runs").iterdir():
            shutil.rmtree(run)
        await count(self, *what, **more)

    write(home.file, ROWS)
    monkeypatch.setattr(Teller, "count", gone)
    with pytest.raises(StateError) as error:
        home.run()
    monkeypatch.undo()
    with pytest.raises(StateError) as again:
        home.run()

    assert error.value.reason_code == again.value.reason_code == "run_folder_gone"
    assert list((home.folder / "home" / "runs").iterdir()) == []


@given(
    mine=st.sets(st.integers(0, 40)), theirs=st.lists(st.sets(st.integers(0, 40)), max_size=3), part=st.integers(1, 9)
)
def test_any_rows_against_any_claims(mine: set[int], theirs: list[set[int]], part: int) -> None:
    """Compared part by part, as one by one."""

    def fingerprints(numbers: set[int]) -> list[bytes]:
        return [number.to_bytes(SIZE, "big") for number in sorted(numbers)]

    with pytest.MonkeyPatch.context() as patch, closing(sqlite3.connect(":memory:")) as ledger:
        patch.setattr(claims, "_PART", part)
        ledger.execute("CREATE TABLE jobs (id, run, stage, phase, output_file, succeeded, lost)")
        ledger.execute("CREATE TABLE claims (job, part, fingerprints, PRIMARY KEY (job, part))")
        for number, rows in enumerate(theirs):
            ledger.execute("INSERT INTO jobs (id, run, stage) VALUES (?, 'other', 'created')", (str(number),))
            for index, value in enumerate(claims._parts(fingerprints(rows))):
                ledger.execute("INSERT INTO claims VALUES (?, ?, ?)", (str(number), index, value))

        wanted = zip(fingerprints(mine), sorted(mine), strict=True)
        found = sorted(claims.claimed_by_others(ledger, "mine", wanted))
        own = list(claims.claimed_by_others(ledger, "other", zip(fingerprints(mine), sorted(mine), strict=True)))

    assert found == sorted((row, str(number)) for number, rows in enumerate(theirs) for row in mine & rows)
    assert own == []
