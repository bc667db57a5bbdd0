"""Every command that names a run or a job agrees with every other one about the same state."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.views import ask, views
from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from engine.steps import jobs_of
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.late_answers import refuse_late
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.engine.creating.budget import budget_of
from gemini_batch.engine.creating.planner import plan_job
from gemini_batch.engine.creating.submitter import Submitter
from gemini_batch.engine.quota import Limits
from gemini_batch.errors import Next, NotFinished, ServiceError, UsageError
from gemini_batch.intake.submission import Submission, enter_run
from gemini_batch.report.job_view import RunState
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from commands.views import Views
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.records import Job

KEYS = ["a", "b", "c", "d", "e"]
ENDS = ["BATCH_STATE_SUCCEEDED", "BATCH_STATE_FAILED", "BATCH_STATE_EXPIRED", "BATCH_STATE_CANCELLED"]


def interrupted(service: FakeService, folder: Path, death: tuple[int, Any] | None, **options: Any) -> None:
    """A run that dies at a call of the service, if it comes that far."""

    async def whole() -> None:
        async with FakeSession(service, folder / "home") as session:
            await run(session, Submission(source=folder / "in.jsonl"), RunOptions(**options))

    service.death = death
    try:
        asyncio.run(whole())
    except (Killed, ServiceError, NotFinished):
        pass
    finally:
        service.death = None


def only_run(folder: Path) -> str:
    with Ledger(folder / "home" / "ledger.db") as ledger:
        (found,) = ledger.runs()
        return found.id


def check(found: Views, run_id: str, jobs: list[Job]) -> None:
    """What must hold between the commands, whatever the state is."""
    seen = found.run
    created = [one for one in found.listed if one.job is not None]
    assert sorted(one.job or "" for one in created) == sorted(found.by_name)
    for one in created:
        there = next(job for job in seen.jobs if job.job == one.job)
        alone = found.by_name[one.job or ""]
        assert (one.state, one.alive, one.total, one.run) == (there.state, there.alive, there.total, run_id)
        assert (one.state, one.alive, one.next) == (alone.state, alone.alive, alone.next)
    assert any(one.alive for one in created) == (seen.state is RunState.RUNNING)

    # Requests that were never sent stand in one entry of the list, counted as status counts them; those in doubt, too.
    in_doubt = sum(job.requests for job in jobs if job.stage is JobStage.INTENDED)
    count = seen.not_sent + in_doubt
    assert [one.total for one in found.unsent] == ([count] if count else [])
    assert seen.not_sent <= seen.waiting

    # What was never sent is what clean forgets and cancel refuses; nothing else is.
    assert (run_id in found.cleaned.not_created) == (seen.state is RunState.NOT_CREATED)

    # Results: one answer for all names, or one reason and one next step.
    assert set(found.answers) | set(found.refused) == {run_id, *found.by_name}
    assert not found.answers or not found.refused
    if found.results is not None:
        summary = found.results.summary
        assert summary.requests + summary.not_sent == seen.requests
        assert summary.not_sent == seen.not_sent
        assert seen.state != RunState.RUNNING
        (same,) = {str(rows) for rows in found.answers.values()}
        assert same
    else:
        assert found.after is not None
        assert {str(error.next) for error in found.refused.values()} <= {
            str(seen.next),
            str(found.after.next),
            *(str(one.next) for one in found.by_name.values()),
        }


@pytest.mark.timeout(600)
@settings(max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "20")))
@given(data=st.data())
def test_commands_agree_in_every_state(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A run that died anywhere, in jobs of any size, whose jobs end in any way: then what each command says of it, and
    that the next step it names leads to the end."""
    folder = tmp_path_factory.mktemp("state")
    write_requests(folder / "in.jsonl", KEYS)
    service = FakeService(Clock(), chunk=10_000)
    service.polls_to_end = data.draw(st.sampled_from([1, 3, 10**9]), label="polls to the end")
    service.ends = {n: (data.draw(st.sampled_from(ENDS)), data.draw(st.sampled_from([3, 13]))) for n in range(2)}
    death = (data.draw(st.integers(1, 24), label="death"), data.draw(st.sampled_from(["before", "after"])))
    size = data.draw(st.sampled_from([1, 2, 5]), label="requests a job")
    if service.polls_to_end > 100:
        death = (min(death[0], 3 * 5), death[1])
    interrupted(service, folder, death, max_requests_per_job=size)
    run_id = only_run(folder)
    paid = service.paid()

    ask(service, folder, lambda s: status(s, run_id))  # a first poll moves jobs on; from here on they stand still
    service.polls_to_end = 10**9
    check(views(service, folder, run_id), run_id, jobs_of(folder))
    assert service.paid() == paid, "to look costs nothing"

    service.polls_to_end = 0
    service.ends = {}
    again = to_the_end(service, folder, run_id)
    seen = ask(service, folder, lambda s: status(s, run_id))
    assert (seen.state, seen.waiting, seen.not_sent) == (RunState.FINISHED, 0, 0)
    assert [row["key"] for row in again] == KEYS
    check(views(service, folder, run_id), run_id, jobs_of(folder))


def to_the_end(service: FakeService, folder: Path, run_id: str) -> Results:
    """``run RUN``, and the ``retry`` that it asks for where someone else has cancelled a job."""
    try:
        return cast("Results", ask(service, folder, lambda s: run(s, run_id, None)))
    except NotFinished as stop:
        error = stop
    assert error.reason_code == "cancelled_elsewhere"
    assert isinstance(error.next, Next)
    assert error.next.args[:3] == (run_id, "--only", "failed,missing")
    selection = RetrySelection(verdicts=("failed", "missing"), overrides=RequestOverrides())
    return cast("Results", ask(service, folder, lambda s: retry(s, run_id, selection)))


# The scenes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    """Three requests; a run of one request a job has died when its first job was created, and two were planned."""
    write_requests(tmp_path / "in.jsonl", ["a", "b", "c"])
    service = FakeService(Clock(), chunk=10_000)
    service.polls_to_end = 10**9
    return service


def begun(service: FakeService, folder: Path) -> str:
    """One job alive, two planned."""

    async def work(session: FakeSession) -> str:
        order = Submission(source=folder / "in.jsonl")
        entered = await enter_run(session, order, RunOptions(), before_new=refuse_late)
        ledger, place = session.ledger(), session.state_folder.run(entered.run.id)
        one = Limits(requests=1, bytes=10**6, tokens=None, jobs=9)
        for _ in range(3):
            await plan_job(
                ledger, place, entered.run, one,
                tokens=None, model=entered.run.model, display_name="n",
                key_fingerprint=session.key_fingerprint(), now=session.world.now,
            )  # fmt: skip
        budget = budget_of(session, entered.run, RunOptions())
        await Submitter(session, service, ledger, entered.run, place, budget=budget).make(
            ledger.jobs_of(entered.run.id)[0]
        )
        return entered.run.id

    found: str = ask(service, folder, work)
    with Ledger(folder / "home" / "ledger.db") as ledger:
        assert sorted(job.stage.value for _, job in ledger.jobs()) == ["created", "planned", "planned"]
    return found


def test_the_list_shows_what_was_not_sent_once(service: FakeService, tmp_path: Path) -> None:
    """And proposes what goes on with it: the run."""
    run_id = begun(service, tmp_path)

    found = views(service, tmp_path, run_id)

    (entry,) = found.unsent
    assert (entry.state, entry.done, entry.total, entry.run) == ("NOT_CREATED", 0, 2, run_id)
    assert str(entry.next).startswith(f"gemini-batch run {run_id}")
    assert len(found.listed) == 2


def test_status_of_a_run_counts_what_is_to_be_sent(service: FakeService, tmp_path: Path) -> None:
    run_id = begun(service, tmp_path)

    seen = views(service, tmp_path, run_id).run

    assert (seen.state, seen.waiting, seen.not_sent, seen.requests) == (RunState.RUNNING, 2, 2, 3)


def test_clean_does_not_count_a_run_that_has_a_job(service: FakeService, tmp_path: Path) -> None:
    run_id = begun(service, tmp_path)

    found = views(service, tmp_path, run_id).cleaned

    assert (found.not_created, found.forgotten) == ([], [])


def test_status_waits_for_a_run(service: FakeService, tmp_path: Path) -> None:
    """For its active jobs; what is not sent stays so, and the next step says how it is."""
    run_id = begun(service, tmp_path)
    service.polls_to_end = 5

    seen = ask(service, tmp_path, lambda s: status(s, run_id, wait=True))

    assert (seen.state, seen.waiting) == (RunState.UNFINISHED, 2)
    assert [one.state for one in seen.jobs if one.job] == ["JOB_STATE_SUCCEEDED"]
    assert str(seen.next).startswith(f"gemini-batch run {run_id}")
    assert len(service.jobs) == 1


@pytest.mark.parametrize("command", ["run", "create"])
def test_a_run_killed_in_its_first_upload(service: FakeService, tmp_path: Path, command: str) -> None:
    """Status, list and results name the same next step, and it works."""
    service.death = (1, "before")
    source = Submission(source=tmp_path / "in.jsonl")
    with pytest.raises(Killed):
        ask(service, tmp_path, lambda s: run(s, source, None) if command == "run" else create(s, source))
    service.death = None
    run_id = only_run(tmp_path)

    found = views(service, tmp_path, run_id)

    steps = {str(found.run.next), *(str(one.next) for one in found.unsent), str(found.refused[run_id].next)}
    (step,) = steps
    assert step.startswith(f"gemini-batch run {run_id}")
    assert found.run.state is RunState.NOT_CREATED
    assert isinstance(found.refused[run_id], NotFinished)
    with pytest.raises(UsageError, match="nothing to cancel"):
        ask(service, tmp_path, lambda s: cancel(s, run_id))
    service.polls_to_end = 0
    assert ask(service, tmp_path, lambda s: run(s, run_id, None)).summary.all_succeeded
    assert service.paid() == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("after", ["run", "retry"])
def test_create_prints_a_name_after_everything(service: FakeService, tmp_path: Path, after: str) -> None:
    """After ``run`` and after a retry: the newest job, exit 0, nothing sent."""
    service.polls_to_end = 0
    source = Submission(source=tmp_path / "in.jsonl")
    if after == "retry":
        service.ends = {0: ("BATCH_STATE_FAILED", 13)}
    ask(service, tmp_path, lambda s: run(s, source, RunOptions(max_requests_per_job=3)))
    jobs = len(service.jobs)

    made = ask(service, tmp_path, lambda s: create(s, source))

    assert (made.job, made.attached) == (service.jobs[-1].name, True)
    assert len(service.jobs) == jobs


def test_follow_up_jobs_keep_the_name(service: FakeService, tmp_path: Path) -> None:
    """A name given to create is that of the jobs which resend the rest."""
    service.polls_to_end = 0
    service.ends = {0: ("BATCH_STATE_FAILED", 13)}
    made = ask(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "in.jsonl", name="nightly")))

    ask(service, tmp_path, lambda s: run(s, made.run, None))

    assert [job.display_name for job in service.jobs] == ["nightly", "nightly"]
