"""``clean --local``: what it deletes, what it keeps, and what the other commands say of a run that was deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import Killed
from gemini_batch.commands import clean_local as clean_local_module
from gemini_batch.commands.clean import Cleaned
from gemini_batch.commands.clean_local import clean_local
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import retry, selection
from gemini_batch.commands.run import run
from gemini_batch.commands.show import RowSelection, show
from gemini_batch.commands.status import status
from gemini_batch.errors import UsageError
from gemini_batch.memory.freeing import groups
from gemini_batch.memory.index import Index
from gemini_batch.store.state_folder import RunFolder, StateFolder
from memory.nights import Home, answers, right

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.session import Session

ROWS = [(f"k{number}", f"text {number}") for number in range(6)]
MORE = [*ROWS, ("new", "news")]
DAY = 86_400.0
FAILED = selection(["failed"], max_output_tokens=None, temperature=None, model=None, model_check=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def cleaned(home: Home, **what: Any) -> Cleaned:
    async def work(session: Any) -> Cleaned:
        return clean_local(session, **{"dry_run": False, **what})

    found: Cleaned = home.do(work)
    return found


def files(home: Home, run_id: str) -> set[str]:
    folder = home.folder / "home" / "runs" / run_id
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"lock"}


def test_only_what_is_old_enough_goes(home: Home) -> None:
    first = home.run(ROWS).summary.run
    assert cleaned(home).freed == []
    home.service.clock.pass_by(91 * DAY)
    second = home.run([("other", "row")]).summary.run

    plan = cleaned(home, dry_run=True)
    assert (plan.freed, plan.forgotten_answers) == ([first], 6)
    assert "requests.jsonl" in files(home, first)
    done = cleaned(home)

    assert (done.freed, done.forgotten_answers, done.freed_bytes) == ([first], 6, plan.freed_bytes)
    assert {name.split("-")[0].split(".")[0] for name in files(home, first)} == {"rows", "manifest"}
    assert "requests.jsonl" in files(home, second)
    assert cleaned(home).freed == []


def test_what_a_kept_run_uses_stays(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    second = home.run(MORE).summary.run

    done = cleaned(home)
    assert (done.freed, [(one.run, one.used_by) for one in done.lent]) == ([], [(first, [second])])
    assert answers(home.results(second)) == right(MORE)

    home.service.clock.pass_by(91 * DAY)
    assert cleaned(home).freed == [second, first], "the borrower goes first, in the same call"


def test_runs_that_use_answers_of_each_other_go_together(home: Home) -> None:
    home.service.fails = {"text 3"}
    first = home.run(ROWS).summary.run
    home.service.fails = set()
    second = home.run(MORE).summary.run
    home.do(lambda s: retry(s, first, FAILED))
    counts = {text: count for (_, text, _), count in home.service.sent().items()}
    assert counts["text 3"] == 2, "the retry takes the answer of the second run"
    home.service.clock.pass_by(60 * DAY)
    third = home.run([*MORE, ("newest", "of all")]).summary.run
    home.service.clock.pass_by(31 * DAY)

    assert [(one.run, one.used_by) for one in cleaned(home).lent] == [
        (second, [first, third]),
        (first, [second, third]),
    ]
    home.service.clock.pass_by(60 * DAY)
    plan = cleaned(home, dry_run=True)
    done = cleaned(home)

    assert (set(done.freed), done.lent, done.forgotten_answers) == ({first, second, third}, [], 8)
    assert (set(plan.freed), plan.freed_bytes, plan.forgotten_answers) == (set(done.freed), done.freed_bytes, 8)


def test_a_row_that_is_held_twice_is_forgotten_with_the_last_answer(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(60 * DAY)
    second = home.run(new=True).summary.run
    home.run([("other", "row")])  # the answers enter the index
    home.service.clock.pass_by(31 * DAY)

    done = cleaned(home)
    assert (done.freed, done.forgotten_answers) == ([first], 0)
    assert home.run(MORE).summary.remembered == 6
    home.service.clock.pass_by(91 * DAY)
    assert second in (done := cleaned(home)).freed
    assert done.forgotten_answers == 8


def test_an_older_answer_that_is_kept_is_remembered(home: Home) -> None:
    """A newer one, made with --new, was deleted; the older one stays, because a newer run uses it."""
    first = home.run(ROWS).summary.run
    home.service.fails = {"news"}
    user = home.run(MORE).summary.run
    home.service.fails = set()
    second = home.run(ROWS, new=True).summary.run
    home.run([("other", "row")])
    home.service.clock.pass_by(60 * DAY)
    home.do(lambda s: retry(s, user, FAILED))
    home.service.clock.pass_by(31 * DAY)

    done = cleaned(home)

    assert second in done.freed
    assert [one.run for one in done.lent] == [first]
    assert done.forgotten_answers == 1, "the other row"
    assert home.run([*ROWS, ("one", "more")]).summary.remembered == 6


def test_its_rows_are_sent_again(home: Home) -> None:
    home.run(ROWS)
    home.service.clock.pass_by(91 * DAY)
    cleaned(home)

    found = home.run(MORE)

    assert answers(found) == right(MORE)
    assert set(home.service.sent().values()) == {1, 2}
    assert found.summary.remembered == 0


def test_the_same_file_makes_a_new_run(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    cleaned(home)

    found = home.run()

    assert found.summary.run != first
    assert answers(found) == right(ROWS)


VERBS: dict[str, Callable[[Session, str, str], Awaitable[Any]]] = {
    "run RUN": lambda s, of, _: run(s, of, None),
    "run JOB": lambda s, _, job: run(s, job, None),
    "retry RUN": lambda s, of, _: retry(s, of, FAILED),
    "show RUN": lambda s, of, _: show(s, of, RowSelection()),
    "results RUN": lambda s, of, _: results(s, of),
    "results JOB": lambda s, _, job: results(s, job),
    "results JOB --job-only": lambda s, _, job: results(s, job, job_only=True),
}


@pytest.mark.parametrize("verb", VERBS)
def test_commands_that_need_the_answers(home: Home, verb: str) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    cleaned(home)
    calls = len(home.service.calls)

    with pytest.raises(
        UsageError, match=f"{first} were deleted on 20..-..-.. by clean --local; its verdicts"
    ) as caught:
        home.do(lambda s: VERBS[verb](s, first, home.service.jobs[0].name))

    assert (caught.value.reason_code, len(home.service.calls)) == ("freed", calls)
    said = str(caught.value.next)
    assert said.startswith(f"gemini-batch run {home.file} --model ")
    assert "costs money" in said


def test_commands_that_need_only_the_verdicts(home: Home) -> None:
    first = home.run(ROWS).summary.run
    job = home.service.jobs[0].name
    home.service.clock.pass_by(91 * DAY)
    cleaned(home)

    told = home.do(lambda s: status(s, first))
    assert told.verdicts == {"succeeded": 6}
    assert told.next.command == "run"
    (one,) = home.do(lambda s: list_jobs(s, Filter(), long=True))
    assert (one.results, one.size) == ("deleted here", StateFolder(home.folder / "home").run(first).size())
    assert home.do(lambda s: status(s, job)).next == told.next
    found = home.do(doctor)
    assert found.healthy
    assert [(largest.run, largest.size) for largest in found.largest] == [(first, one.size)]
    (home.folder / "home" / "runs" / first / "rows.db").unlink()
    assert not home.do(doctor).healthy


def test_keep_results(home: Home) -> None:
    """Only copies go: results, retry, memory and the answers of each job work as before."""
    home.service.fails = {"text 1", "text 4"}
    first = home.run(ROWS, most=3).summary.run
    home.service.fails = {"text 4"}
    home.do(lambda s: retry(s, first, FAILED))
    folder = home.folder / "home" / "runs" / first
    needed = files(home, first)
    assert any(name.startswith("parts") for name in needed)
    spare = [folder / "parts" / "9.jsonl", folder / "raw" / "x.damaged-1", folder / "rows.v1.db"]
    for path in spare:
        path.write_bytes(b"spare")
    home.service.clock.pass_by(91 * DAY)

    done = cleaned(home, keep_results=True)

    assert (done.freed, done.freed_bytes, done.forgotten_answers) == ([first], 15, 0)
    assert files(home, first) == needed
    for job in home.service.jobs:
        assert home.do(lambda s, job=job: results(s, job.name, job_only=True)).summary.requests == len(job.keys)
    home.service.fails = set()
    assert answers(home.do(lambda s: retry(s, first, FAILED))) == right(ROWS)
    home.run(MORE)
    assert len(home.service.texts[home.service.jobs[-1].name]) == 1
    assert cleaned(home, keep_results=True).freed == []


def test_a_living_or_unfinished_run_stays(home: Home) -> None:
    home.create(ROWS)
    home.service.clock.pass_by(91 * DAY)

    assert cleaned(home, older_than=0.0).freed == []


class Death:
    """Ends the process before or after the ``step``-th thing that ``clean`` writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        self.left = step
        for owner, name in ((clean_local_module, "free"), (clean_local_module, "_unlink"), (Index, "forget_runs")):
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


STEPS = 22


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
                cleaned(home)
        else:
            cleaned(home)

    for name, rows in ((first, ROWS), (second, MORE)):
        if home.do(lambda s, name=name: freed_at(s, name)) is None:
            assert answers(home.results(name)) == right(rows)
        else:
            with pytest.raises(UsageError, match="deleted on"):
                home.results(name)
    done = cleaned(home)
    assert [(one.run, one.used_by) for one in done.lent] == [(other, [third])]
    assert cleaned(home).freed == []
    assert all("requests.jsonl" not in files(home, name) for name in (first, second))
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
    found: list[Cleaned] = []

    def in_between(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def both(*args: Any, **more: Any) -> Any:
            if not found:
                found.append(
                    Cleaned(dry_run=False, deleted=[], gone=[], kept={}, bytes=0, not_created=[], forgotten=[])
                )
                with ThreadPoolExecutor(1) as other:
                    found[0] = other.submit(cleaned, home, keep_results=keep_results).result()
            return call(*args, **more)

        monkeypatch.setattr(owner, name, both)

    in_between(*((RunFolder, "lock") if when == "before" else (clean_local_module, "_unlink")))
    done = cleaned(home, keep_results=keep_results)

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
            done = cleaned(home, dry_run=dry_run)
            assert (done.freed, set(done.kept)) == ([], {first, second})
    assert answers(home.results(first)) == right(ROWS)


def test_a_run_that_takes_answers_in_the_last_moment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    free, made = clean_local_module.free, list[str]()

    def late(*args: Any, **more: Any) -> Any:
        if not made:
            with ThreadPoolExecutor(1) as other:
                made.append(other.submit(home.run, MORE).result().summary.run)
        return free(*args, **more)

    monkeypatch.setattr(clean_local_module, "free", late)
    done = cleaned(home)

    assert (done.freed, [(one.run, one.used_by) for one in done.lent]) == ([], [(first, made)])
    assert answers(home.results(made[0])) == right(MORE)


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ({}, []),
        ({"a": []}, [["a"]]),
        ({"a": ["new"]}, []),
        ({"a": ["b"], "b": []}, [["b"], ["a"]]),
        ({"a": ["b"], "b": ["c"], "c": []}, [["c"], ["b"], ["a"]]),
        ({"a": ["b"], "b": ["new"]}, []),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["b"], "b": ["a", "c"], "c": []}, [["c"], ["a", "b"]]),
        ({"z": ["a"], "a": ["b"], "b": ["a"], "y": ["z"]}, [["a", "b"], ["z"], ["y"]]),
        ({"a": ["b"], "b": ["a", "new"], "c": []}, [["c"]]),
    ],
)
def test_which_runs_go_together(users: dict[str, list[str]], expected: list[list[str]]) -> None:
    assert groups(users) == expected
