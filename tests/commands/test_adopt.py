"""Jobs that were made elsewhere: their requests and answers are joined by key, and they go on as runs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini_batch.catalog import Method
from gemini_batch.commands.adopt import adopt
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import retry, selection
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.objects import names
from memory.nights import Home, answers, line, right, write

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.commands.adopt import Adopted

MODEL = "gemini-3.1-flash-lite"
ROWS = [(f"k{number}", f"text {number}") for number in range(5)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def made_elsewhere(home: Home, rows: list[tuple[str, str]], *, inline: bool = False) -> str:
    """A job that another program created."""
    import asyncio

    name = f"files/other{len(home.service.files)}"
    home.service.files[name] = b"".join(line(*row) + b"\n" for row in rows)
    if inline:
        requests = [(key, msgspec.Raw(b'{"contents": []}')) for key, _ in rows]
        home.service.texts[f"batches/job{len(home.service.jobs)}"] = dict(rows)
        create = super(type(home.service), home.service).create(
            model=MODEL, method=Method.GENERATE, display_name="theirs", requests=requests
        )
    else:
        create = home.service.create(model=MODEL, method=Method.GENERATE, display_name="theirs", file_name=name)
    asyncio.run(create)
    return home.service.jobs[-1].name


def adopted(home: Home, job: str, rows: list[tuple[str, str]] | None = None, **more: Any) -> Adopted:
    if rows is not None:
        write(home.file, rows)
    found: Adopted = home.do(lambda s: adopt(s, job, home.file, **more))
    return found


def test_the_source_is_recorded_as_the_object_that_it_is(home: Home) -> None:
    job, folder = made_elsewhere(home, ROWS), str(home.file.parent)
    names.stand_in(folder, "s3://bucket/in")
    try:
        found = adopted(home, job, ROWS)
    finally:
        names.forget([folder])

    async def source(session: Any) -> str | None:
        known: str | None = session.ledger().run(found.run).source
        return known

    assert home.do(source) == f"s3://bucket/in/{home.file.name}"


def go_on(home: Home, run_id: str) -> Any:
    return home.do(lambda s: run(s, run_id, None))


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_a_job_and_its_file_become_a_run(home: Home, *, inline: bool, ended: bool) -> None:
    job = made_elsewhere(home, ROWS, inline=inline)
    home.service.polls_to_end = 1 if ended else 3

    found = adopted(home, job, ROWS)

    assert (found.job, found.model, found.requests, found.is_new) == (job, MODEL, 5, True)
    assert found.answered == (5 if ended else None)
    assert answers(go_on(home, found.run)) == right(ROWS)
    assert home.do(lambda s: status(s, found.run)).state.value == "FINISHED"
    assert answers(home.run(model=MODEL)) == right(ROWS)
    assert len(home.service.jobs) == 1, "nothing was sent, not even by the file's own run"


def test_keys_that_are_only_on_one_side(home: Home, tmp_path: Path) -> None:
    """What was certainly not in the job is sent by run; what has no request is counted and named."""
    home.service.polls_to_end = 1
    job = made_elsewhere(home, [*ROWS[:3], ("theirs", "x")])

    found = adopted(home, job, ROWS, output=tmp_path / "out.jsonl")

    assert found.unknown_keys is not None
    assert (found.unknown_keys.count, found.unknown_keys.first) == (1, ["theirs"])
    assert found.not_in_job is not None
    assert (found.not_in_job.count, found.not_in_job.first) == (2, ["k3", "k4"])
    assert "sends the rest" in str(found.next)
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 3
    assert answers(go_on(home, found.run)) == right(ROWS)
    assert set(home.service.sent().values()) == {1}


def test_what_may_have_been_in_the_job_is_not_sent_by_itself(home: Home) -> None:
    """A line without a key could be the answer of any request that has none."""
    home.service.polls_to_end = 1
    job = made_elsewhere(home, ROWS)
    home.service.arrange = lambda lines: [*lines[:3], b'{"response": {"candidates": []}}']
    home.service.counts_at_end = lambda _: (4, 0)

    found = adopted(home, job, ROWS)
    done = go_on(home, found.run)

    assert done.summary.verdicts == {"succeeded": 3, "missing": 2}
    assert len(home.service.jobs) == 1
    home.service.arrange = lambda lines: lines
    home.service.counts_at_end = lambda _: (2, 0)
    chosen = selection(["missing"], max_output_tokens=None, temperature=None, model=None, model_check=True)
    assert answers(home.do(lambda s: retry(s, found.run, chosen))) == right(ROWS)


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED", "CANCELLED"])
def test_a_job_that_left_nothing(home: Home, state: str) -> None:
    home.service.polls_to_end = 1
    home.service.end_state = f"BATCH_STATE_{state}"
    job = made_elsewhere(home, ROWS)

    found = adopted(home, job, ROWS)

    assert (found.state, found.answered) == (f"JOB_STATE_{state}", 0)
    assert home.results(found.run).summary.verdicts == {"missing": 5}
    assert len(home.service.jobs) == 1


def test_a_state_folder_that_was_lost(home: Home) -> None:
    """The job goes on, and each row is paid for once."""
    home.service.polls_to_end = 4
    made = home.create(ROWS)
    shutil.rmtree(home.folder / "home")

    found = adopted(home, made.job)
    home.run([*ROWS, ("new", "news")])

    assert found.requests == 5
    assert set(home.service.sent().values()) == {1}


def test_answers_that_were_fetched_before_are_not_fetched_again(home: Home) -> None:
    home.service.polls_to_end = 1
    job = made_elsewhere(home, ROWS)
    before = home.results(job)
    assert "adopt" in str(before.summary.next)
    home.service.jobs[0].output_deleted = True

    found = adopted(home, job, ROWS)

    assert answers(home.results(found.run)) == right(ROWS)
    assert answers(home.results(job)) == right(ROWS)


def test_the_same_again_changes_nothing(home: Home) -> None:
    job = made_elsewhere(home, ROWS)
    first = adopted(home, job, ROWS)
    again = adopted(home, job)

    assert (again.run, again.is_new) == (first.run, False)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([*ROWS, ("more", "x")], "other_requests"),
        ([("k0", "a"), ("k0", "b")], None),
    ],
    ids=["another file", "a key twice"],
)
def test_files_that_do_not_fit(home: Home, rows: list[tuple[str, str]], code: str | None) -> None:
    job = made_elsewhere(home, ROWS)
    adopted(home, job, ROWS)
    before = sorted(path.name for path in (home.folder / "home" / "runs").iterdir())

    with pytest.raises(UsageError) as caught:
        adopted(home, job, rows)

    assert isinstance(caught.value, InvalidInput) if code is None else caught.value.reason_code == code
    assert sorted(path.name for path in (home.folder / "home" / "runs").iterdir()) == before


def test_embeddings_are_not_adopted_as_texts(home: Home) -> None:
    job = made_elsewhere(home, ROWS)
    home.file.write_bytes(b'{"key": "a", "request": {"content": {"parts": [{"text": "x"}]}}}\n')

    with pytest.raises(UsageError, match="asks for embed"):
        adopted(home, job)


def test_a_job_that_was_made_here(home: Home) -> None:
    job = home.create(ROWS).job

    with pytest.raises(UsageError) as caught:
        adopted(home, job)
    assert caught.value.reason_code == "known_job"


def test_run_names_adopt_for_a_job_that_it_does_not_know(home: Home) -> None:
    job = made_elsewhere(home, ROWS)

    with pytest.raises(UsageError) as caught:
        go_on(home, job)
    assert str(caught.value.next).startswith(f"gemini-batch adopt {job} requests.jsonl")
    home.service.polls_to_end = 1
    assert "adopt" in str(home.do(lambda s: results(s, job)).summary.next)


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_while_adopting(home: Home, call: int, when: Any) -> None:
    home.service.polls_to_end = 1
    job = made_elsewhere(home, ROWS)
    write(home.file, ROWS)
    home.killed(call, when, lambda: adopted(home, job))

    found = adopted(home, job)

    assert answers(go_on(home, found.run)) == right(ROWS)
    assert len(home.service.jobs) == 1
