"""``clean --local``: what it deletes, what it keeps, and what the other commands say of a run that was deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.commands.clean_local import clean_local
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.retry import retry, selection
from gemini_batch.commands.run import run
from gemini_batch.commands.show import RowSelection, show
from gemini_batch.commands.status import status
from gemini_batch.errors import UsageError
from gemini_batch.store.state_folder import StateFolder
from memory.nights import Home, answers, right

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.commands.clean import Cleaned

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


def test_what_the_other_commands_say(home: Home) -> None:
    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    cleaned(home)
    chosen = selection(["failed"], max_output_tokens=None, temperature=None, model=None, model_check=True)

    for verb in (
        lambda s: run(s, first, None),
        lambda s: retry(s, first, chosen),
        lambda s: show(s, first, RowSelection()),
    ):
        with pytest.raises(UsageError, match="deleted on") as caught:
            home.do(verb)
        assert caught.value.reason_code == "freed"
    with pytest.raises(UsageError, match="deleted on"):
        home.results(first)
    assert home.do(lambda s: status(s, first)).verdicts == {"succeeded": 6}
    (one,) = home.do(lambda s: list_jobs(s, Filter(), long=True))
    assert (one.results, one.size) == ("deleted here", StateFolder(home.folder / "home").run(first).size())
    found = home.do(doctor)
    assert found.healthy
    assert [largest.run for largest in found.largest] == [first]


def test_keep_results(home: Home) -> None:
    """Only copies go: results, retry and memory work as before."""
    home.service.fails = {"text 3"}
    first = home.run(ROWS, most=2).summary.run
    home.service.fails = set()
    chosen = selection(["failed"], max_output_tokens=None, temperature=None, model=None, model_check=True)
    home.do(lambda s: retry(s, first, chosen))
    (home.folder / "home" / "runs" / first / "parts").mkdir(exist_ok=True)
    (home.folder / "home" / "runs" / first / "parts" / "9.jsonl").write_bytes(b"x")
    home.service.clock.pass_by(91 * DAY)

    done = cleaned(home, keep_results=True)

    assert (done.freed, done.forgotten_answers) == ([first], 0)
    assert answers(home.results(first)) == right(ROWS)
    home.run(MORE)
    assert len(home.service.texts[home.service.jobs[-1].name]) == 1


def test_a_living_or_unfinished_run_stays(home: Home) -> None:
    home.create(ROWS)
    home.service.clock.pass_by(91 * DAY)

    assert cleaned(home, older_than=0.0).freed == []


def test_a_process_that_died_while_deleting(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger says so first; the next clean deletes what is left, and forgets nothing twice."""
    from pathlib import Path as AnyPath

    first = home.run(ROWS).summary.run
    home.service.clock.pass_by(91 * DAY)
    unlink = AnyPath.unlink

    def die(path: AnyPath, **more: Any) -> None:
        if path.name == "requests.jsonl":
            raise KeyboardInterrupt
        unlink(path, **more)

    monkeypatch.setattr(AnyPath, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        cleaned(home)
    monkeypatch.undo()

    with pytest.raises(UsageError, match="deleted on"):
        home.results(first)
    done = cleaned(home)
    assert (done.freed, done.forgotten_answers) == ([first], 0)
    assert "requests.jsonl" not in files(home, first)
