"""What stands around a job's life: listing, cancelling, cleaning, the doctor, other keys and addresses, adoption."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, answer_line, write_requests
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.clean import clean
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import Diagnosis, doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, Error, JobError, NetworkError, UsageError
from gemini_batch.events import JobSeen, Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.store.state_folder import RunFolder, StateFolder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

KEYS = ["a", "b", "c"]


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock())


def do(service: FakeService, home: Path, work: Callable[[FakeSession], Awaitable[Any]], **session: Any) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, home, **session) as opened:
            return await work(opened)

    return asyncio.run(whole())


def make(service: FakeService, tmp_path: Path, **order: Any) -> str:
    name: str = do(
        service, tmp_path / "home", lambda s: create(s, Submission(source=tmp_path / "in.jsonl", **order))
    ).job
    return name


def test_the_list_says_what_was_last_seen_and_looks_only_when_asked(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)
    service.jobs[0].state = "BATCH_STATE_RUNNING"
    calls = len(service.calls)

    plain = do(service, tmp_path / "home", lambda s: list_jobs(s, Filter()))
    assert len(service.calls) == calls
    fresh = do(service, tmp_path / "home", lambda s: list_jobs(s, Filter(alive=True), refresh=True))

    assert [(one.job, one.state) for one in plain] == [(job, "JOB_STATE_PENDING")]
    assert [(one.job, one.state) for one in fresh] == [(job, "JOB_STATE_RUNNING")]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(state="pending"), 2),
        (Filter(state="JOB_STATE_FAILED"), 0),
        (Filter(name="NIGHT"), 1),
        (Filter(model="3.8"), 1),
        (Filter(limit=1), 1),
        (Filter(), 2),
    ],
)
def test_the_list_is_narrowed_down(service: FakeService, tmp_path: Path, wanted: Filter, count: int) -> None:
    make(service, tmp_path, name="nightly")
    make(service, tmp_path, name="other", model="gemini-3.8-flash")

    assert len(do(service, tmp_path / "home", lambda s: list_jobs(s, wanted))) == count


def test_jobs_made_elsewhere_are_listed_fetched_and_adopted(service: FakeService, tmp_path: Path) -> None:
    """A home that knows nothing: the service's jobs are seen, and their answers come in the service's order."""
    job = make(service, tmp_path, name="theirs")
    service.end_state, service.polls_to_end = "BATCH_STATE_SUCCEEDED", 0
    service.arrange = lambda lines: list(reversed(lines))
    other = tmp_path / "other"

    assert [one.job for one in do(service, other, lambda s: list_jobs(s, Filter(), remote=True))] == [job]
    found = do(service, other, lambda s: results(s, job))

    assert [row["key"] for row in found] == ["c", "b", "a"]
    assert found.summary.all_succeeded
    assert do(service, other, lambda s: list_jobs(s, Filter(), remote=True))[0].run == found.summary.run


def test_adopting_counts_answers_that_are_absent(service: FakeService, tmp_path: Path) -> None:
    """The requests of a foreign job are not known here, but how many there were is."""
    job = make(service, tmp_path)
    service.polls_to_end = 0
    service.answer = lambda key: None if key == "b" else answer_line(key)

    found = do(service, tmp_path / "other", lambda s: results(s, job))

    assert (found.summary.unknown_keys, found.summary.exit_code) == (1, 1)


def test_a_foreign_job_that_left_nothing(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)
    service.end_state, service.polls_to_end = "BATCH_STATE_EXPIRED", 0

    with pytest.raises(JobError, match="JOB_STATE_EXPIRED") as caught:
        do(service, tmp_path / "other", lambda s: results(s, job))

    assert caught.value.exit_code == 5


def test_cancel_asks_follows_and_harvests(service: FakeService, tmp_path: Path) -> None:
    """A running job ends as SUCCEEDED with what it had; the ledger says that the user asked."""
    job = make(service, tmp_path)

    done = do(service, tmp_path / "home", lambda s: cancel(s, job))

    assert service.calls.count("cancel") == 1
    assert (done.asked, done.state, done.answers) == (True, "JOB_STATE_SUCCEEDED", 3)
    again = do(service, tmp_path / "home", lambda s: cancel(s, job))
    assert (again.asked, service.calls.count("cancel")) == (False, 1)


def test_only_what_is_ours_and_needed_no_more_is_cleaned(service: FakeService, tmp_path: Path) -> None:
    make(service, tmp_path)
    service.files["files/theirs"] = b"not ours"
    service.polls_to_end = 100

    kept = do(service, tmp_path / "home", lambda s: clean(s, dry_run=False))
    assert not kept.deleted
    assert "alive" in next(iter(kept.kept.values()))
    service.polls_to_end = 0
    plan = do(service, tmp_path / "home", lambda s: clean(s, dry_run=True))
    assert len(plan.deleted) == 1
    assert len(service.files) == 2
    done = do(service, tmp_path / "home", lambda s: clean(s, dry_run=False))

    assert done.deleted == plan.deleted
    assert list(service.files) == ["files/theirs"]
    assert not do(service, tmp_path / "home", lambda s: clean(s, dry_run=False)).deleted


def diagnose(service: FakeService, tmp_path: Path, **options: Any) -> Diagnosis:
    found: Diagnosis = do(service, tmp_path / "home", lambda s: doctor(s, **options))
    return found


def test_a_healthy_home(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)
    service.polls_to_end = 0
    do(service, tmp_path / "home", lambda s: results(s, job))

    found = diagnose(service, tmp_path)

    assert found.healthy
    assert not found.findings
    assert (found.runs, found.jobs, found.asked_service) == (1, 1, True)


@pytest.mark.parametrize("harm", ["folder", "requests", "raw"])
def test_the_doctor_sees_harm(service: FakeService, tmp_path: Path, harm: str) -> None:
    job = make(service, tmp_path)
    service.polls_to_end = 0
    found = do(service, tmp_path / "home", lambda s: results(s, job))
    folder = tmp_path / "home" / "runs" / found.summary.run
    if harm == "folder":
        folder.rename(tmp_path / "away")
    elif harm == "requests":
        (folder / "requests.jsonl").write_bytes(b"{}\n")
    else:
        next((folder / "raw").iterdir()).write_bytes(b"")

    assert not diagnose(service, tmp_path).healthy


def test_the_doctor_finds_jobs_that_nobody_knows(service: FakeService, tmp_path: Path) -> None:
    make(service, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write_requests(other / "in.jsonl", ["x"])
    stray = make(service, other)

    found = diagnose(service, tmp_path)
    assert [finding.about for finding in found.findings] == [stray]
    assert found.healthy
    assert str(found.findings[0].next).startswith(f"gemini-batch adopt {stray} requests.jsonl")


def test_another_key_is_told_from_a_lost_job(service: FakeService, tmp_path: Path) -> None:
    """K1: the wrong key's 404 says nothing about the job; the ledger stays as it was."""
    job = make(service, tmp_path)
    service.polls_to_end = 100
    service.faults["get", 0] = ("before", ApiError("not found", status=404, reason="NOT_FOUND"))

    with pytest.raises(ApiError, match="another API key") as caught:
        do(service, tmp_path / "home", lambda s: status(s, job), key="a different key")

    assert caught.value.reason_code == "other_key"
    assert do(service, tmp_path / "home", lambda s: status(s, job)).alive


def test_a_job_is_not_asked_for_at_another_address(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)

    class Elsewhere(FakeSession):
        def __init__(self) -> None:
            super().__init__(service, tmp_path / "home")
            self.settings = type(self.settings)(
                home=self.settings.home, base_url="https://elsewhere.invalid", api_key=self.settings.api_key
            )

    async def work() -> None:
        async with Elsewhere() as session:
            await status(session, job)

    with pytest.raises(UsageError, match=r"was created at https://fake\.invalid") as caught:
        asyncio.run(work())
    assert "export GOOGLE_GEMINI_BASE_URL=https://fake.invalid" in str(caught.value)


@pytest.mark.parametrize(
    "errors",
    [
        [ApiError("busy", status=503)] * 5,
        [ApiError("slow down", status=429)] * 5,
        [NetworkError("reset", sent=True)] * 5,
        [NetworkError("no route", sent=False)] * 5,
        [ApiError("not found", status=404, reason="NOT_FOUND")] * 2,
        [ApiError("<html>nginx</html>", status=404)] * 5,
        [ApiError("blocked by the firewall", status=403)] * 5,
    ],
    ids=["503", "429", "reset", "unreachable", "404 twice", "a proxy's 404", "a proxy's 403"],
)
def test_waiting_outlives_the_service_s_bad_hours(
    service: FakeService, tmp_path: Path, errors: list[Exception]
) -> None:
    """L11: a wait is not ended by failures that pass."""
    job = make(service, tmp_path)
    for number, error in enumerate(errors):
        service.faults["get", number] = ("before", error)

    seen = do(service, tmp_path / "home", lambda s: status(s, job, wait=True))

    assert seen.succeeded


def test_a_wait_ends_when_the_service_itself_does_not_know_the_job(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)
    for number in range(3):
        service.faults["get", number] = ("before", ApiError("no", status=404, reason="NOT_FOUND"))

    with pytest.raises(ApiError, match="cannot find it") as caught:
        do(service, tmp_path / "home", lambda s: status(s, job, wait=True))
    assert caught.value.reason_code == "job_not_found"
    assert service.calls.count("get") == 3


@pytest.mark.parametrize("error_status", [403, 404])
def test_a_proxy_does_not_make_a_file_gone(service: FakeService, tmp_path: Path, error_status: int) -> None:
    """Only the service says that there is no such file; until then it stays in the ledger for the next ``clean``."""
    job = make(service, tmp_path)
    do(service, tmp_path / "home", lambda s: status(s, job, wait=True))
    service.faults["delete_file", 0] = ("before", ApiError("<html>nginx</html>", status=error_status))
    with pytest.raises(ApiError, match="nginx"):
        do(service, tmp_path / "home", lambda s: clean(s, dry_run=False))

    found = do(service, tmp_path / "home", lambda s: clean(s, dry_run=False))

    assert (len(found.deleted), found.gone) == (1, [])
    assert service.files == {}


def test_a_proxy_s_404_says_nothing_of_the_model(service: FakeService, tmp_path: Path) -> None:
    """A create that got it is looked for and resent, and nobody is told to choose another model."""
    service.faults["create", 0] = ("before", ApiError("<html>nginx</html>", status=404))

    make(service, tmp_path)

    assert len(service.jobs) == 1
    assert service.calls.count("list") >= 2


def test_waiting_ends_when_the_key_is_refused(service: FakeService, tmp_path: Path) -> None:
    job = make(service, tmp_path)
    service.faults["get", 0] = ("before", ApiError("API key not valid", status=400, code="api_key_refused"))

    with pytest.raises(ApiError, match="API key not valid"):
        do(service, tmp_path / "home", lambda s: status(s, job, wait=True))


@pytest.mark.parametrize("state", ["BATCH_STATE_FAILED", "BATCH_STATE_EXPIRED", "BATCH_STATE_CANCELLED"])
def test_every_bad_end_ends_the_waiting(service: FakeService, tmp_path: Path, state: str) -> None:
    """L3, L7, L8, X1: no loop goes on for ever."""
    job = make(service, tmp_path)
    service.end_state = state

    seen = do(service, tmp_path / "home", lambda s: status(s, job, wait=True))

    assert seen.ended_badly
    assert seen.state == state.replace("BATCH", "JOB")


def test_an_unknown_state_is_alive_and_said(service: FakeService, tmp_path: Path) -> None:
    """L5: neither success nor the end; the user hears the word itself."""
    job = make(service, tmp_path)
    service.jobs[0].state = "BATCH_STATE_PONDERING"
    seen = do(service, tmp_path / "home", lambda s: status(s, job))

    assert (seen.state, seen.alive, seen.succeeded) == ("JOB_STATE_PONDERING", True, False)
    assert "not known here" in str(seen.next)


def test_a_wait_tells_how_it_goes(service: FakeService, tmp_path: Path) -> None:
    """Events: a caller can show progress."""
    job = make(service, tmp_path)

    async def work() -> list[Any]:
        async with FakeSession(service, tmp_path / "home") as session:
            await status(session, job, wait=True)
            return list(session.events)

    events = asyncio.run(work())
    assert any(isinstance(event, JobSeen) for event in events)


def test_a_machine_that_sleeps_for_a_day_while_waiting(service: FakeService, tmp_path: Path) -> None:
    """The clock jumps: the wait goes on with its next look, nothing is given up and nothing is sent."""
    job = make(service, tmp_path)
    service.polls_to_end = 4
    real = service.clock.sleep

    async def suspended(seconds: float) -> None:
        await real(seconds + 86_400)

    service.clock.sleep = suspended  # type: ignore[method-assign]
    seen = do(service, tmp_path / "home", lambda s: status(s, job, wait=True))

    assert seen.succeeded
    assert len(service.jobs) == 1


def test_a_machine_that_sleeps_for_a_day_within_an_unanswered_create(service: FakeService, tmp_path: Path) -> None:
    service.faults["create", 0] = ("after", NetworkError("reset", sent=True))
    real = service.clock.sleep

    async def suspended(seconds: float) -> None:
        await real(seconds + 86_400)

    service.clock.sleep = suspended  # type: ignore[method-assign]
    make(service, tmp_path)

    assert len(service.jobs) == 1


def test_a_model_that_only_the_service_knows_is_used_and_its_price_called_unknown(
    service: FakeService, tmp_path: Path
) -> None:
    """No guess at another name: the service was asked, and has it."""

    async def work() -> list[Any]:
        async with FakeSession(service, tmp_path / "home") as session:
            await create(session, Submission(source=tmp_path / "in.jsonl", model="gemini-99-flash"))
            return list(session.events)

    said = [event.message for event in asyncio.run(work()) if isinstance(event, Notice)]
    assert service.calls.index("get_model") < service.calls.index("start_upload")
    assert any("price is unknown" in sentence for sentence in said)
    assert not any("Did you mean" in str(event) for event in said)


def test_a_model_that_nobody_knows_leaves_no_run(service: FakeService, tmp_path: Path) -> None:
    service.faults["get_model", 0] = ("before", ApiError("no such model", status=404, reason="NOT_FOUND"))

    with pytest.raises(UsageError, match="does not know the model"):
        make(service, tmp_path, model="gemini-99-flash")

    assert do(service, tmp_path / "home", lambda s: list_jobs(s, Filter())) == []
    assert list((tmp_path / "home" / "runs").iterdir()) == []


def test_staging_folders_of_dead_processes_are_swept(tmp_path: Path) -> None:
    """A young one without a lock may be another process's that just begins, if it is empty."""
    home = StateFolder(tmp_path)
    for name, files, age in (
        ("young", (), 0.0),
        ("locking", ("lock",), 0.0),
        ("old", (), 3600.0),
        ("dead", ("lock", "rows.db"), 0.0),
        ("alive", ("rows.db",), 3600.0),
    ):
        left = tmp_path / "runs" / f".new-{name}"
        left.mkdir(parents=True)
        for file in files:
            (left / file).touch()
        os.utime(left, (left.stat().st_mtime - age,) * 2)

    with RunFolder(tmp_path / "runs" / ".new-alive").lock(wait=0.0), home.staging("ours"):
        left_over = {path.name for path in (tmp_path / "runs").iterdir()}

    assert left_over == {".new-young", ".new-locking", ".new-alive", ".new-ours"}


@pytest.mark.parametrize(
    "verb",
    [status, results, cancel, lambda session, name: run(session, name, None)],
    ids=["status", "results", "cancel", "run"],
)
@pytest.mark.parametrize("named", ["job", "bare job", "run"])
def test_what_was_not_created_offline_is_not_looked_for_there(
    service: FakeService, tmp_path: Path, verb: Any, named: str
) -> None:
    job = make(service, tmp_path)
    name = {"job": job, "bare job": job.removeprefix("batches/"), "run": "run-00000001"}[named]
    calls = len(service.calls)

    with pytest.raises(UsageError, match="was not created offline") as caught:
        do(service, tmp_path / "home", lambda s: verb(s, name), offline=True)

    assert (caught.value.reason_code, caught.value.next) == ("other_backend", "Leave out --offline.")
    assert len(service.calls) == calls


@pytest.mark.parametrize(
    ("state", "counted", "shown"),
    [
        ("BATCH_STATE_CANCELLED", (0, 0), "none"),
        ("BATCH_STATE_FAILED", (0, 0), "none"),
        ("BATCH_STATE_EXPIRED", (0, 0), "none"),
        ("BATCH_STATE_SUCCEEDED", (len(KEYS), 0), "held here"),
    ],
)
def test_the_list_says_where_answers_are_only_where_there_are_any(
    service: FakeService, tmp_path: Path, state: str, counted: tuple[int, int], shown: str
) -> None:
    service.ends, service.counts_at_end = {0: (state, None)}, lambda _: counted
    job = make(service, tmp_path)
    do(service, tmp_path / "home", lambda s: status(s, job, wait=True))
    with contextlib.suppress(Error):
        do(service, tmp_path / "home", lambda s: results(s, job))

    (one,) = do(service, tmp_path / "home", lambda s: list_jobs(s, Filter()))

    assert one.results == shown
