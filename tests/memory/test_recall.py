"""What is sent and what is not: table by table."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.commands.run import run
from gemini_batch.engine import runner
from gemini_batch.engine.creating.planner import drop, plan_job
from gemini_batch.engine.runner import Runner
from gemini_batch.errors import ApiError, NotFinished, StateError, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.memory.recall import recall
from gemini_batch.store.ledger.run_options import RunOptions
from memory.nights import Home, answers, line, right, write

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [(f"k{number}", f"text {number}") for number in range(6)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def newest(home: Home) -> dict[str, str]:
    """Keys and texts of the newest job."""
    return home.service.texts[home.service.jobs[-1].name]


# The same row, or another --------------------------------------------------------------------------------------------


def test_one_line_more_sends_one(home: Home) -> None:
    home.run(ROWS)

    found = home.run([*ROWS, ("new", "news")])

    assert "6 of 7 requests were answered before; 1 is sent." in home.said
    assert newest(home) == {"new": "news"}
    assert answers(found) == right([*ROWS, ("new", "news")])
    assert (found.summary.remembered, found.summary.requests) == (6, 7)
    assert found.summary.tokens.input == 4, "what was answered before is not paid for again"


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        (line("a", "x"), line("a", "y"), True),
        (line("a", "x"), line("b", "x"), True),
        (line("a", "x"), b'{"key": "a",  "request": {"contents": [{"parts": [{"text": "\\u0078"}]}]}}', False),
        (line("a", "x"), line("a", "x", serviceTier="flex"), False),
        (line("a", "x"), line("a", "x", generationConfig={"temperature": 0.5}), True),
    ],
    ids=["another request", "another key of the row", "spaces and escapes", "service tier", "a setting"],
)
def test_what_makes_a_row_another_one(home: Home, before: bytes, after: bytes, sent: bool) -> None:
    home.file.write_bytes(before + b"\n")
    home.run()
    home.file.write_bytes(after + b"\n")
    home.run(lenient=True)

    assert (len(home.service.jobs) == 2) is sent


def test_another_model_sends_all_again(home: Home) -> None:
    home.run(ROWS)
    home.run([*ROWS, ("new", "news")], model="gemini-3.1-flash-lite")

    assert len(newest(home)) == 7


def test_new_sends_all_again_and_the_newest_answer_counts(home: Home) -> None:
    home.run(ROWS)
    home.run(new=True)
    assert set(home.service.sent().values()) == {2}

    home.run([*ROWS, ("new", "news")])

    assert newest(home) == {"new": "news"}


def test_a_row_that_failed_is_sent_again_in_another_file(home: Home) -> None:
    home.service.fails = {"text 2"}
    home.run(ROWS)
    home.service.fails = set()

    found = home.run([*ROWS, ("new", "news")])

    assert newest(home) == {"k2": "text 2", "new": "news"}
    assert answers(found) == right([*ROWS, ("new", "news")])


FILE = {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc", "mimeType": "text/plain"}}
AWAY = {"fileData": {"fileUri": "https://example.com/a.pdf", "mimeType": "application/pdf"}}


def with_part(key: str, part: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": "see"}, part]}]}}) + b"\n"


@pytest.mark.parametrize(("part", "sent"), [(FILE, 2), (AWAY, 1)], ids=["a file of the project", "a page elsewhere"])
def test_a_resource_of_the_project_counts_for_its_key_only(home: Home, part: dict[str, Any], sent: int) -> None:
    home.file.write_bytes(with_part("a", part))
    home.run()
    home.key = "another"
    home.file.write_bytes(with_part("a", part) + line("b", "more") + b"\n")
    home.run()

    assert len(newest(home)) == sent


def test_answers_that_depend_on_the_world_are_counted(home: Home) -> None:
    search: dict[str, Any] = {"tools": [{"googleSearch": {}}]}
    home.file.write_bytes(with_part("a", AWAY) + line("b", "news", **search) + b"\n" + line("c", "fixed") + b"\n")
    home.run()
    home.file.write_bytes(home.file.read_bytes() + line("d", "more") + b"\n")
    home.run()

    assert "The answers to 2 of them depended on a search, on web pages or on files elsewhere" in home.said


# Trials --------------------------------------------------------------------------------------------------------------


def test_a_trial_is_part_of_the_run(home: Home) -> None:
    first = home.run(ROWS, limit=2)
    assert (first.summary.exit_code, first.summary.not_sent, first.summary.held_back) == (0, 4, 4)
    assert answers(first) == right(ROWS[:2])
    again = home.run(limit=2)
    assert (again.summary.run, len(home.service.jobs)) == (first.summary.run, 1)
    home.run(limit=5)
    assert list(newest(home)) == ["k2", "k3", "k4"]

    found = home.run()

    assert list(newest(home)) == ["k5"]
    assert answers(found) == right(ROWS)
    assert set(home.service.sent().values()) == {1}


def test_a_larger_sample_contains_the_smaller(home: Home) -> None:
    small = {key for key, _ in answers(home.run(ROWS, sample=2, sample_seed=7))}
    large = {key for key, _ in answers(home.run(sample=4, sample_seed=7))}

    assert len(small) == 2
    assert small < large
    assert len(large) == 4
    assert home.run().summary.not_sent == 0
    assert set(home.service.sent().values()) == {1}


def test_create_goes_on_after_its_trial(home: Home) -> None:
    trial = home.create(ROWS, limit=2)
    rest = home.create()
    again = home.create()

    assert (trial.held_back, rest.requests, rest.attached) == (4, 4, False)
    assert (again.job, again.attached) == (rest.job, True)
    assert home.run().summary.run == trial.run
    assert set(home.service.sent().values()) == {1}


def test_a_killed_trial_that_grows_sends_what_was_planned_once(home: Home) -> None:
    assert home.killed(1, "before", lambda: home.run(ROWS, limit=2))

    home.run(limit=1)
    assert set(home.service.sent()) == {("k0", "text 0", "gemini-3-flash-preview")}
    home.run()
    assert set(home.service.sent().values()) == {1}


def test_retry_after_a_trial_sends_only_what_failed(home: Home) -> None:
    from gemini_batch.commands.retry import retry, selection

    home.service.fails = {"text 1"}
    found = home.run(ROWS, limit=3)
    home.service.fails = set()
    chosen = selection(["failed"], max_output_tokens=None, temperature=None, model=None, model_check=True)
    again = home.do(lambda s: retry(s, found.summary.run, chosen))

    assert newest(home) == {"k1": "text 1"}
    assert answers(again) == right(ROWS[:3])


# Other runs that are alive -------------------------------------------------------------------------------------------


def test_create_leaves_out_what_another_run_has_sent(home: Home) -> None:
    first = home.create(ROWS)
    made = home.create([*ROWS[3:], ("new", "news")])

    assert newest(home) == {"new": "news"}
    assert (made.elsewhere, made.requests) == (3, 1)
    assert f"3 requests are in {first.job}" in home.said
    found = home.do(_finished(made.run))
    assert answers(found) == right([*ROWS[3:], ("new", "news")])
    assert set(home.service.sent().values()) == {1}


def _finished(run_id: str) -> Any:
    from gemini_batch.commands.run import run

    return lambda session: run(session, run_id, None)


def test_create_of_what_is_all_elsewhere_prints_the_run(home: Home) -> None:
    home.create(ROWS)
    made = home.create(ROWS[:2])

    assert (made.job, made.elsewhere) == (made.run, 2)
    with pytest.raises(NotFinished, match="in jobs of other runs"):
        home.results(made.job)
    assert answers(home.run()) == right(ROWS[:2])


def test_results_take_what_the_other_run_has_received_since(home: Home) -> None:
    first = home.create(ROWS)
    made = home.create([*ROWS[:2], ("new", "news")])
    home.service.polls_to_end = 1
    home.results(first.job)

    found = home.results(made.job)

    assert answers(found) == right([*ROWS[:2], ("new", "news")])
    assert found.summary.exit_code == 0
    assert len(home.service.jobs) == 2


def test_a_job_of_another_run_that_the_service_does_not_show(home: Home) -> None:
    """Nothing is sent: whether it is gone is for that run to find out, and then its requests are free."""
    first = home.create(ROWS)
    home.service.jobs[0].deleted = True

    with pytest.raises(NotFinished) as caught:
        home.run([*ROWS[:2], ("new", "news")])

    assert caught.value.reason_code == "elsewhere_not_shown"
    assert str(caught.value.next).startswith(f"gemini-batch run {first.run}")
    assert set(home.service.sent().values()) == {1}
    home.do(_finished(first.run))
    assert answers(home.run()) == right([*ROWS[:2], ("new", "news")])


def test_create_of_what_was_all_answered_prints_the_run(home: Home) -> None:
    home.run(ROWS)
    made = home.create(ROWS[1:3])

    assert (made.job, made.remembered, made.attached) == (made.run, 2, True)
    assert answers(home.results(made.job)) == right(ROWS[1:3])
    summary = home.results(made.job).summary
    assert (summary.state, summary.usd.batch) == ("no job", 0)
    assert len(home.service.jobs) == 1


def test_what_another_runs_job_did_not_answer_is_sent(home: Home) -> None:
    home.service.ends[0] = ("BATCH_STATE_FAILED", 3)
    home.create(ROWS)

    found = home.run([*ROWS[:3], ("new", "news")])

    assert answers(found) == right([*ROWS[:3], ("new", "news")])
    assert len(home.service.jobs) == 3


def test_a_living_job_that_this_key_cannot_see_stops_before_spending(home: Home) -> None:
    home.create(ROWS)
    home.key = "another"
    home.service.faults["get", home.service.calls.count("get")] = ("before", ApiError("no", status=404, reason="NO"))

    with pytest.raises(UsageError) as caught:
        home.run([*ROWS, ("new", "news")])

    assert caught.value.reason_code == "other_key"
    assert "Nothing was sent" in str(caught.value)
    assert len(home.service.jobs) == 1
    found = home.run()  # a key of the same project sees it
    assert answers(found) == right([*ROWS, ("new", "news")])
    assert set(home.service.sent().values()) == {1}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("rival", ["alive", "collected", "indexed"])
def test_two_at_once_that_had_both_looked_first(
    home: Home, rival: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look-up and the create of one, the other sends some of its rows, and may even get the answers.

    It does so before or after the index is searched once more for the create.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from engine.fake import FakeSession
    from gemini_batch.commands.create import create
    from gemini_batch.commands.run import run
    from gemini_batch.intake.submission import Submission
    from gemini_batch.memory.claims import claiming

    other = Submission(source=write(home.folder / "other.jsonl", ROWS[:2]))
    third = Submission(source=write(home.folder / "third.jsonl", [("third", "file")]))
    write(home.file, ROWS)

    async def rivals() -> None:
        async with FakeSession(home.service, home.folder / "home") as session:
            if rival == "alive":
                await create(session, other)
            else:
                await run(session, other, None)
            if rival == "indexed":
                await create(session, third)  # which looks up its own rows

    async def both() -> Any:
        async with FakeSession(home.service, home.folder / "home") as session:
            upload = home.service.start_upload

            async def first_the_others(**what: Any) -> str:
                home.service.start_upload = upload  # type: ignore[method-assign]
                await rivals()
                return await upload(**what)

            if when == "before":
                home.service.start_upload = first_the_others  # type: ignore[method-assign]
            return await run(session, Submission(source=home.file), None)

    where = "gemini_batch.engine.creating.intent.claiming"

    def then_the_others(*what: Any, **more: Any) -> Any:
        monkeypatch.setattr(where, claiming)
        claim = claiming(*what, **more)
        with ThreadPoolExecutor() as other_process:
            other_process.submit(asyncio.run, rivals()).result()
        return claim

    if when == "after":
        monkeypatch.setattr(where, then_the_others)
    assert answers(asyncio.run(both())) == right(ROWS)
    assert set(home.service.sent().values()) == {1}


# Damage --------------------------------------------------------------------------------------------------------------


def test_the_index_can_be_deleted(home: Home) -> None:
    home.run(ROWS)
    home.run([*ROWS, ("new", "news")])
    (home.folder / "home" / "memory.db").unlink()
    home.run([*ROWS, ("newer", "more")])

    assert newest(home) == {"newer": "more"}


def test_rows_of_an_earlier_version_are_recognised(home: Home) -> None:
    """They have no fingerprints, and their living jobs no claims."""
    home.run(ROWS[:3])
    home.create(ROWS[3:])
    for database in (home.folder / "home").glob("runs/*/rows.db"):
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("UPDATE requests SET fingerprint = NULL, body = NULL")
    with closing(sqlite3.connect(home.folder / "home" / "ledger.db")) as db, db:
        db.execute("DELETE FROM claims")

    found = home.run([*ROWS, ("new", "news")])

    assert newest(home) == {"new": "news"}
    assert answers(found) == right([*ROWS, ("new", "news")])


def test_a_lender_whose_answers_are_damaged_is_to_fetch_them_first(home: Home) -> None:
    first = home.run(ROWS).summary
    (raw,) = (home.folder / "home").glob(f"runs/{first.run}/raw/*.jsonl")
    raw.unlink()

    with pytest.raises(StateError) as caught:
        home.run([*ROWS, ("new", "news")])
    assert caught.value.reason_code == "answers_damaged"
    assert len(home.service.jobs) == 1

    home.results(first.run)
    assert answers(home.run()) == right([*ROWS, ("new", "news")])
    assert newest(home) == {"new": "news"}


def test_borrowed_answers_that_are_damaged_later_are_fetched_again(home: Home) -> None:
    first = home.run(ROWS).summary
    second = home.run([*ROWS, ("new", "news")]).summary
    (raw,) = (home.folder / "home").glob(f"runs/{first.run}/raw/*.jsonl")
    raw.write_bytes(b"x" * raw.stat().st_size)
    home.service.arrange = lambda lines: lines[::-1]
    home.service.jobs[0].lines.reverse()

    assert answers(home.results(second.run)) == right([*ROWS, ("new", "news")])
    assert len(home.service.jobs) == 2


@pytest.mark.parametrize("indexed", [True, False])
def test_a_folder_of_a_lender_that_was_deleted_is_said(home: Home, indexed: bool) -> None:
    import shutil

    first = home.run(ROWS).summary
    if indexed:
        home.run([("other", "row")])
    shutil.rmtree(home.folder / "home" / "runs" / first.run)
    found = home.run([*ROWS, ("new", "news")])

    gone = f"Answers to 6 of these requests are gone with the folder of {first.run}"
    assert (gone if indexed else f"The answers of {first.run} cannot be used again: its folder is gone") in home.said
    assert answers(found) == right([*ROWS, ("new", "news")])


@pytest.mark.parametrize("call", range(12))
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_in_the_middle_of_the_five_new_rows(home: Home, call: int, when: Any) -> None:
    """The same table with a few changed rows, killed anywhere: what was sent is not sent again."""
    home.run(ROWS, most=2)
    changed = [*ROWS[:3], ("k3", "other"), *ROWS[4:], ("new", "news")]
    write(home.file, changed)
    home.killed(call, when, lambda: home.run(most=1))

    found = home.run(most=1)

    assert answers(found) == right(changed)
    assert set(home.service.sent().values()) == {1}


# Identical requests --------------------------------------------------------------------------------------------------


def test_identical_requests_are_sent_once_if_asked(home: Home) -> None:
    rows = [("a", "same"), ("b", "same"), ("c", "other"), ("d", "same")]
    found = home.run(rows, dedupe=True)

    assert newest(home) == {"a": "same", "c": "other"}
    assert answers(found) == right(rows)
    assert [row.get("copied_from") for row in found] == [None, "a", None, "a"]
    assert found.summary.tokens.input == 8
    more = home.run([*rows, ("e", "same"), ("f", "new")])
    assert newest(home) == {"e": "same", "f": "new"}, "another key of the row may be a sample on purpose"
    assert answers(more) == right([*rows, ("e", "same"), ("f", "new")])


def test_a_copy_fails_with_its_original(home: Home) -> None:
    home.service.fails = {"same"}
    found = home.run([("a", "same"), ("b", "same"), ("c", "other")], dedupe=True)

    assert [row["verdict"] for row in found] == ["failed", "failed", "succeeded"]
    assert found.summary.exit_code == 1


def test_what_dedupe_would_save_is_said(home: Home) -> None:
    home.run([(f"k{number}", "same") for number in range(20)], limit=1)
    assert "19 of 20 requests repeat an earlier one under another key." in home.said


@pytest.mark.parametrize("content", [b"", b"this is no database, and it is longer than a header " * 100])
def test_an_index_that_is_damaged(home: Home, content: bytes) -> None:
    """An empty one is made anew; of any other, the error says that it can be deleted. Nothing is sent."""
    home.run(ROWS)
    home.run([*ROWS, ("new", "news")])
    index = home.folder / "home" / "memory.db"
    for path in index.parent.glob("memory.db-*"):
        path.unlink()
    index.write_bytes(content)

    if content:
        with pytest.raises(StateError) as caught:
            home.run([*ROWS, ("newer", "more")])
        assert caught.value.reason_code == "damaged"
        assert "Delete this file" in str(caught.value.next)
        assert len(home.service.jobs) == 2
        index.unlink()
    home.run([*ROWS, ("newer", "more")])
    assert newest(home) == {"newer": "more"}


def test_an_answer_is_judged_once_more(home: Home) -> None:
    """The request asks for JSON, and the answer is none, whatever an earlier version thought of it."""
    asks = {"generationConfig": {"responseMimeType": "application/json"}}
    write(home.file, [("a", "x")], **asks)
    first = home.run().summary
    assert first.verdicts == {"invalid": 1}
    with closing(sqlite3.connect(home.folder / "home" / "runs" / first.run / "rows.db")) as db, db:
        db.execute("UPDATE answers SET verdict = 'succeeded', reason = NULL")

    write(home.file, [("a", "x"), ("b", "y")], **asks)
    home.run()

    assert newest(home) == {"a": "x", "b": "y"}


@pytest.mark.parametrize("mime_type", ["application/json", "text/x.enum"])
def test_an_answer_is_compared_with_the_schema_of_the_row_that_takes_it(home: Home, mime_type: str) -> None:
    """An earlier version compared nothing, so its answer may not satisfy the schema."""
    asks = {"generationConfig": {"responseMimeType": mime_type, "responseSchema": {"type": "STRING", "enum": ["x"]}}}
    write(home.file, [("a", "x")], **asks)
    first = home.run().summary
    assert first.verdicts == {"invalid": 1}
    with closing(sqlite3.connect(home.folder / "home" / "runs" / first.run / "rows.db")) as db, db:
        db.execute("UPDATE answers SET verdict = 'succeeded', reason = NULL")

    write(home.file, [("a", "x"), ("b", "y")], **asks)
    home.run()

    assert newest(home) == {"a": "x", "b": "y"}


def test_a_hash_alone_makes_no_copy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemini_batch.memory.fingerprint import Origin

    marks_of = Origin.marks_of
    monkeypatch.setattr(Origin, "marks_of", lambda *given: marks_of(*given)._replace(body=7))
    rows = [("a", "same"), ("b", "same"), ("c", "other")]

    assert answers(home.run(rows, dedupe=True)) == right(rows)
    assert newest(home) == {"a": "same", "c": "other"}


# Copies, and what stands around the look-up --------------------------------------------------------------------------


def rows_of(found: Any) -> list[tuple[str, str]]:
    return [(row["key"], row["verdict"]) for row in found]


def test_a_copy_gets_the_answer_that_its_original_takes_from_another_run(home: Home) -> None:
    same = [("a", "same"), ("b", "same")]
    assert home.killed(1, "before", lambda: home.run(same, dedupe=True))
    home.run([("a", "same"), ("q", "qq")])

    assert answers(home.run(same, dedupe=True)) == right(same)


def test_the_doctor_knows_runs_without_jobs(home: Home) -> None:
    from gemini_batch.commands.doctor import doctor

    home.run(ROWS)
    home.run(ROWS[:2])
    found = home.do(doctor)

    assert (found.healthy, found.runs, found.jobs) == (True, 2, 1)
    assert not any("not in the ledger" in finding.message for finding in found.findings)


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("harm", ["emptied", "deleted"])
def test_a_run_that_cannot_be_read_holds_up_nothing_else(home: Home, harm: str, *, alive: bool) -> None:
    first = home.create(ROWS) if alive else home.run(ROWS).summary
    folder = home.folder / "home" / "runs" / first.run
    with closing(sqlite3.connect(folder / "rows.db")) as db, db:
        db.execute("UPDATE requests SET fingerprint = NULL")
    with closing(sqlite3.connect(home.folder / "home" / "ledger.db")) as db, db:
        db.execute("DELETE FROM claims")
    (folder / "requests.jsonl").unlink()
    if harm == "emptied":
        (folder / "requests.jsonl").write_bytes(b"")

    found = home.run([("un", "related"), ("another", "row")])

    assert answers(found) == right([("un", "related"), ("another", "row")])
    assert f"The answers of {first.run} cannot be used again" in home.said


def test_a_folder_that_is_away_for_a_while_is_remembered(home: Home) -> None:
    first = home.run(ROWS).summary.run
    place = home.folder / "home" / "runs" / first
    place.rename(home.folder / "away")
    home.run([("un", "related")])
    (home.folder / "away").rename(place)

    home.run([*ROWS, ("new", "news")])

    assert newest(home) == {"new": "news"}


@pytest.mark.parametrize("call", range(6))
def test_a_trial_after_an_interrupted_create_sends_no_more(home: Home, call: int) -> None:
    write(home.file, ROWS)
    home.killed(call, "before", home.create)
    created = len(home.service.jobs)

    home.create(limit=1)

    sent = sum(len(home.service.texts[job.name]) for job in home.service.jobs)
    assert sent == (6 if created else 1)


def test_nothing_is_uploaded_twice_because_of_other_answers(home: Home) -> None:
    home.service.ends[0] = ("BATCH_STATE_EXPIRED", None)
    home.run(ROWS)

    assert home.service.calls.count("start_upload") == len(home.service.jobs) == 2
    assert "Another run sent some of these requests" not in home.said


def test_what_another_run_has_answered_is_not_planned_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that waits meanwhile would upload it once more, to be refused once more, and so on without an end."""
    done, runners = list[str](), list[tuple[Runner, Any]]()
    make, dropping, planning, recalling = Runner._make, drop, plan_job, recall
    upload, delete = home.service.start_upload, home.service.delete_file

    async def makes(self: Runner, rows: Any, job: Any) -> None:
        runners.append((self, rows))
        await make(self, rows, job)

    async def uploads(*given: Any, **more: Any) -> Any:
        if "answered" not in done:
            done.append("answered")
            with ThreadPoolExecutor(1) as other:
                file = write(home.folder / "other.jsonl", ROWS[:2])
                other.submit(home.do, lambda s: run(s, Submission(source=file), RunOptions())).result()
        return await upload(*given, **more)

    async def deletes(*given: Any, **more: Any) -> Any:
        await asyncio.sleep(0)  # as every call of a real service does
        return await delete(*given, **more)

    def drops(ledger: Any, rows: Any, *given: Any, **more: Any) -> None:
        dropping(ledger, rows, *given, **more)
        done.append("dropped")
        assert done.count("dropped") == 1
        waiting.extend(asyncio.ensure_future(self._plan(rows, None)) for self, its in runners if its is rows)

    async def plans(*given: Any, **more: Any) -> Any:
        done.append("planned")
        return await planning(*given, **more)

    def recalls(*given: Any, **more: Any) -> Any:
        done.append("looked up")
        return recalling(*given, **more)

    waiting: list[asyncio.Future[None]] = []
    monkeypatch.setattr(Runner, "_make", makes)
    monkeypatch.setattr(home.service, "start_upload", uploads)
    monkeypatch.setattr(home.service, "delete_file", deletes)
    for name, does in (("drop", drops), ("plan_job", plans), ("recall", recalls)):
        monkeypatch.setattr(runner, name, does)
    found = home.run(ROWS[:3])
    assert answers(found) == right(ROWS[:3])
    assert len(waiting) == 1
    assert done[done.index("dropped") :][:3] == ["dropped", "looked up", "planned"]
    assert set(home.service.sent().values()) == {1}


def test_the_change_of_an_interrupted_retry_is_for_its_requests_only(home: Home) -> None:
    from gemini_batch.commands.retry import retry, selection

    home.service.fails = {"text 1"}
    found = home.run(ROWS, limit=3)
    home.service.fails = set()
    chosen = selection(["failed"], max_output_tokens=None, temperature=0.9, model=None, model_check=True)
    home.killed(1, "before", lambda: home.do(lambda s: retry(s, found.summary.run, chosen)))
    before = len(home.service.jobs)

    assert answers(home.run()) == right(ROWS)
    hot = {
        key
        for job in home.service.jobs[before:]
        for key in job.keys
        if b"0.9" in home.service.files.get(job.file_name or "", b"")
    }
    assert len(home.service.jobs) == before + 2
    assert hot <= {"k1"}


def test_an_earlier_run_holds_the_answer_when_the_newest_is_gone(home: Home) -> None:
    import shutil

    home.run(ROWS)
    second = home.run(new=True).summary.run
    home.run([("un", "related")])
    shutil.rmtree(home.folder / "home" / "runs" / second)

    home.run([*ROWS, ("new", "news")])

    assert newest(home) == {"new": "news"}


def test_the_same_file_with_a_resource_of_another_project(home: Home) -> None:
    home.file.write_bytes(with_part("a", FILE))
    home.run()
    home.run()
    assert len(home.service.jobs) == 1
    home.key = "another"
    home.run()
    assert len(home.service.jobs) == 2


def test_the_first_of_two_jobs_is_enough(home: Home) -> None:
    """Made with --new, both hold the same row; one of them never ends."""
    first = home.create(ROWS)
    home.create(new=True)
    stuck, move = home.service.jobs[1], home.service._move
    home.service._move = lambda job: None if job is stuck else move(job)  # type: ignore[method-assign]

    assert answers(home.run([*ROWS, ("new", "news")])) == right([*ROWS, ("new", "news")])
    assert first.job == home.service.jobs[0].name
