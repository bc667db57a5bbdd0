"""``clean --local`` that is interrupted, and next to other processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import Killed
from gemini_batch.commands import clean_local as clean_local_module
from gemini_batch.errors import UsageError
from gemini_batch.memory.freeing import borrowers, free
from gemini_batch.memory.index import Index
from gemini_batch.store import state_folder as state_folder_module
from gemini_batch.store.state_folder import RunFolder, StateFolder
from memory.nights import Home, answers, right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.session import Session

ROWS = [(f"k{number}", f"text {number}") for number in range(6)]
MORE = [*ROWS, ("new", "news")]
DAY = 86_400.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


class Death:
    """Ends the process before or after the ``step``-th thing that ``clean`` writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        self.left = step
        for owner, name in ((clean_local_module, "free"), (state_folder_module, "_unlink"), (Index, "forget_runs")):
            monkeypatch.setattr(owner, name, self.deadly(getattr(owner, name)))

    def deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **more: Any) -> Any:
            self.come_nearer()
            found = call(*args, **more)
            self.come_nearer()
            return found

        return step

    def come_nearer(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


#: Two records, four files and two steps in the index, each with death before and after it.
STEPS = 16


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_process_that_dies_at_any_step(home: Home, step: int) -> None:
    """What is deleted was recorded before; the next clean deletes the rest, and no row takes what is not there."""
    first = home.run(ROWS).summary.run
    second = home.run(MORE).summary.run  # uses the first
    other = home.run([("other", "row")]).summary.run
    home.service.clock.pass_by(60 * DAY)
    third = home.run([("other", "row"), ("third", "row")]).summary.run
    home.service.clock.pass_by(31 * DAY)

    with pytest.MonkeyPatch.context() as patch:
        Death(patch, step)
        if step < STEPS:
            with pytest.raises(Killed):
                home.clean()
        else:
            home.clean()

    for name, rows in ((first, ROWS), (second, MORE)):
        if home.do(lambda s, name=name: freed_at(s, name)) is None:
            assert answers(home.results(name)) == right(rows)
        else:
            with pytest.raises(UsageError, match="deleted on"):
                home.results(name)
    done = home.clean()
    assert [(one.run, one.used_by) for one in done.lent] == [(other, [third])]
    assert home.clean().freed == []
    assert all("requests.jsonl" not in home.files(name) for name in (first, second))
    assert answers(home.results(third)) == [("other", "answer to row"), ("third", "answer to row")]
    again = home.run([*MORE, ("other", "row")])
    assert answers(again) == [*right(MORE), ("other", "answer to row")]
    assert again.summary.remembered == 1


async def freed_at(session: Session, name: str) -> float | None:
    found = session.ledger().run(name)
    assert found is not None
    return found.freed_at


@pytest.mark.parametrize("keep_results", [True, False])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_two_at_once(home: Home, monkeypatch: pytest.MonkeyPatch, when: str, *, keep_results: bool) -> None:
    """The second deletes nothing twice, whether it comes before the first has the lock, or while it deletes."""
    first = home.run(ROWS).summary.run
    (home.folder / "home" / "runs" / first / "rows.v1.db").write_bytes(b"old")
    home.service.clock.pass_by(91 * DAY)
    found: list[Any] = []

    def in_between(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def both(*args: Any, **more: Any) -> Any:
            if not found:
                found.append(None)
                with ThreadPoolExecutor(1) as other:
                    found[0] = other.submit(home.clean, keep_results=keep_results).result()
            return call(*args, **more)

        monkeypatch.setattr(owner, name, both)

    in_between(*((RunFolder, "lock") if when == "before" else (state_folder_module, "_unlink")))
    done = home.clean(keep_results=keep_results)

    ours, theirs = (found[0], done) if when == "before" else (done, found[0])
    assert (ours.freed, theirs.freed, theirs.freed_bytes, theirs.forgotten_answers) == ([first], [], 0, 0)
    assert ours.forgotten_answers == (0 if keep_results else 6)
    assert theirs.kept == ({} if when == "before" else {first: "Another process is working on this run."})


def test_a_run_that_is_in_use_or_damaged_stays(home: Home) -> None:
    first = home.run(ROWS).summary.run
    second = home.run([("other", "row")]).summary.run
    home.service.clock.pass_by(91 * DAY)
    folder = StateFolder(home.folder / "home")
    folder.run(second).row_database.write_bytes(b"not a database, and long enough to be read as one" * 100)

    with folder.run(first).lock(wait=0.0):
        for dry_run in (True, False):
            done = home.clean(dry_run=dry_run)
            assert (done.freed, set(done.kept)) == ([], {first, second})
    assert answers(home.results(first)) == right(ROWS)


def test_a_run_that_takes_answers_in_the_last_moment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    made: list[str] = []

    def late(*args: Any, **more: Any) -> Any:
        if not made:
            with ThreadPoolExecutor(1) as other:
                made.append(other.submit(home.run, MORE).result().summary.run)
        return free(*args, **more)

    monkeypatch.setattr(clean_local_module, "free", late)
    done = home.clean()

    assert (done.freed, [(one.run, one.used_by) for one in done.lent]) == ([], [(first, made)])
    assert answers(home.results(made[0])) == right(MORE)


def test_an_index_that_still_names_a_freed_run(home: Home) -> None:
    """The process died before it removed the entries: they lead nowhere, and nobody looks for the answers."""
    first = home.run(ROWS).summary.run
    home.run([("other", "row")])  # the answers enter the index
    home.service.clock.pass_by(91 * DAY)
    with pytest.MonkeyPatch.context() as patch:
        Death(patch, 12)
        with pytest.raises(Killed):
            home.clean()
    assert "requests.jsonl" not in home.files(first)

    found = home.run(MORE)

    assert (answers(found), found.summary.remembered) == (right(MORE), 0)
    assert home.do(lambda s: users_of(s, first)) == set()


async def users_of(session: Session, name: str) -> set[str]:
    return borrowers(session.ledger()).get(name, set())
