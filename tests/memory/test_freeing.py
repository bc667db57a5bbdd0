"""``clean --local``: what it deletes, what it keeps, and what the other commands say of a run that was deleted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import retry, selection
from gemini_batch.commands.run import run
from gemini_batch.commands.show import RowSelection, show
from gemini_batch.commands.status import status
from gemini_batch.errors import NotFinished, UsageError
from gemini_batch.memory.freeing import groups
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.state_folder import StateFolder
from memory.nights import Home, answers, right

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job

ROWS = [(f"k{number}", f"text {number}") for number in range(6)]
MORE = [*ROWS, ("new", "news")]
DAY = 86_400.0
FAILED = selection(["failed"], max_output_tokens=None, temperature=None, model=None, model_check=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_only_what_is_old_enough_goes(home: Home) -> None:
    first = home.run(ROWS).summary.run
    assert home.clean().freed == []
    home.service.clock.pass_by(91 * DAY)
    second = home.run([("other", "row")]).summary.run

    plan = home.clean(dry_run=True)
    assert (plan.freed, plan.forgotten_answers) == ([first], 6)
    assert "requests.jsonl" in home.files(first)
    done = home.clean()

    assert (done.freed, done.forgotten_answers, done.freed_bytes) == ([first], 6, plan.freed_bytes)
    assert {name.split("-")[0].split(".")[0] for name in home.files(first)} == {"rows", "manifest"}
    assert "requests.jsonl" in home.files(second)
    assert home.clean().freed == []


def test_what_a_kept_run_uses_stays(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    second = home.run(MORE).summary.run

    done = home.clean()
    assert (done.freed, [(one.run, one.used_by) for one in done.lent]) == ([], [(first, [second])])
    assert answers(home.results(second)) == right(MORE)

    home.service.clock.pass_by(91 * DAY)
    assert home.clean().freed == [second, first], "the borrower goes first, in the same call"


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

    assert [(one.run, one.used_by) for one in home.clean().lent] == [
        (second, [first, third]),
        (first, [second, third]),
    ]
    home.service.clock.pass_by(60 * DAY)
    plan = home.clean(dry_run=True)
    done = home.clean()

    assert (set(done.freed), done.lent, done.forgotten_answers) == ({first, second, third}, [], 8)
    assert (set(plan.freed), plan.freed_bytes, plan.forgotten_answers) == (set(done.freed), done.freed_bytes, 8)


def test_a_row_that_is_held_twice_is_forgotten_with_the_last_answer(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(60 * DAY)
    second = home.run(new=True).summary.run
    home.run([("other", "row")])  # the answers enter the index
    home.service.clock.pass_by(31 * DAY)

    done = home.clean()
    assert (done.freed, done.forgotten_answers) == ([first], 0)
    assert home.run(MORE).summary.remembered == 6
    home.service.clock.pass_by(91 * DAY)
    assert second in (done := home.clean()).freed
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

    done = home.clean()

    assert second in done.freed
    assert [one.run for one in done.lent] == [first]
    assert done.forgotten_answers == 1, "the other row"
    assert home.run([*ROWS, ("one", "more")]).summary.remembered == 6


def test_an_older_answer_of_a_run_that_is_too_new_is_remembered(home: Home) -> None:
    """A newer answer, made with --new, was deleted; the older one is in a run that went on later."""
    home.service.fails = {"text 3"}
    first = home.run(ROWS).summary.run
    second = home.run(ROWS, new=True).summary.run
    home.service.fails = set()
    home.service.clock.pass_by(60 * DAY)
    home.do(lambda s: retry(s, first, FAILED))
    home.service.clock.pass_by(31 * DAY)

    plan, done = home.clean(dry_run=True), home.clean()

    assert (plan.freed, plan.lent, plan.forgotten_answers) == (done.freed, done.lent, done.forgotten_answers)
    assert (done.freed, done.lent, done.forgotten_answers) == ([second], [], 0)
    assert home.run(MORE).summary.remembered == 6


def test_its_rows_are_sent_again(home: Home) -> None:
    home.run(ROWS)
    home.service.clock.pass_by(91 * DAY)
    home.clean()

    found = home.run(MORE)

    assert answers(found) == right(MORE)
    assert set(home.service.sent().values()) == {1, 2}
    assert found.summary.remembered == 0


def test_the_same_file_makes_a_new_run(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    home.clean()

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
    home.clean()
    calls = len(home.service.calls)

    with pytest.raises(UsageError, match=f"{first} were deleted on 20..-..-.. by clean --local;") as caught:
        home.do(lambda s: VERBS[verb](s, first, home.service.jobs[0].name))

    assert (caught.value.reason_code, len(home.service.calls)) == ("freed", calls)
    said = str(caught.value.next)
    assert said.startswith(f"gemini-batch run {home.file} --model ")
    assert "costs money" in said


def test_commands_that_need_only_the_verdicts(home: Home) -> None:
    first = home.run(ROWS).summary.run
    job = home.service.jobs[0].name
    home.service.clock.pass_by(91 * DAY)
    home.clean()

    with pytest.raises(UsageError):
        home.results(first)
    assert home.said == f"{first} had 6 succeeded; 24 input and 12 output tokens; cost unknown."
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
    needed = home.files(first)
    assert any(name.startswith("parts") for name in needed)
    spare = [folder / "parts" / "9.jsonl", folder / "raw" / "x.damaged-1", folder / "rows.v1.db"]
    for path in spare:
        path.write_bytes(b"spare")
    home.service.clock.pass_by(91 * DAY)

    done = home.clean(keep_results=True)

    assert (done.freed, done.freed_bytes, done.forgotten_answers) == ([first], 15, 0)
    assert home.files(first) == needed
    for job in home.service.jobs:
        assert home.do(lambda s, job=job: results(s, job.name, job_only=True)).summary.requests == len(job.keys)
    home.service.fails = set()
    assert answers(home.do(lambda s: retry(s, first, FAILED))) == right(ROWS)
    home.run(MORE)
    assert len(home.service.texts[home.service.jobs[-1].name]) == 1
    assert home.clean(keep_results=True).freed == []


def test_a_living_or_unfinished_run_stays(home: Home) -> None:
    """The second has no living job: its requests wait for the answers of the first."""
    home.create(ROWS)
    second = home.create(MORE)
    for _ in range(5):  # it ends when it has been polled often enough
        with contextlib.suppress(NotFinished):
            home.results(second.job)
    assert {job.stage for job in home.do(lambda s: jobs_of(s, second.run))} == {JobStage.COLLECTED}
    home.service.clock.pass_by(91 * DAY)

    assert home.clean(older_than=0.0).freed == []


async def jobs_of(session: Session, run_id: str) -> list[Job]:
    return session.ledger().jobs_of(run_id)


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
