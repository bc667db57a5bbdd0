"""A job that was recorded as lost is asked for once more before its requests are paid for again, whatever pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from commands.test_late_answers import RUN, VERBS, do, finishes, send
from engine.clock import Clock
from engine.fake import FakeService, Killed, write_requests
from engine.steps import GOOD, KEYS, again, held, jobs_of, sentences, texts, work
from gemini_batch.commands.results import results
from gemini_batch.errors import ApiError, NetworkError, NotFinished, UsageError
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions, keep_options
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.events import Event

LOST = pytest.mark.parametrize("reason", ["JOB_GONE", "RESULTS_GONE", "RESULTS_DAMAGED"])
ROADS = pytest.mark.parametrize("road", ["retry", "create", "run"])


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000, polls_to_end=1)


def lost(service: FakeService, folder: Path, reason: str) -> None:
    """A run of one job that is recorded as lost: it, or its results, were not shown, or damaged here before."""
    if reason == "RESULTS_DAMAGED":
        work(service, folder, options=RunOptions())
        (raw,) = (folder / "home" / "runs" / RUN / "raw").glob("*.jsonl")
        raw.write_bytes(b"?" + raw.read_bytes()[1:])
        service.jobs[0].output_deleted = True
        (folder / "results.jsonl").unlink()
        work(service, folder, RUN, RunOptions())
    else:
        send(service, folder, "create")
        service.jobs[0].deleted = reason == "JOB_GONE"
        service.jobs[0].output_deleted = reason == "RESULTS_GONE"
        work(service, folder, RUN, RunOptions())
    (job,) = jobs_of(folder)
    assert (job.stage, job.lost) == (JobStage.COLLECTED, reason)
    service.counts_at_end = lambda job: (len(job.lines), 0)


def back(service: FakeService, *keys: str) -> None:
    """The service shows the job and its results again."""
    finishes(service, *keys)
    service.jobs[0].deleted = service.jobs[0].output_deleted = False


def pay(service: FakeService, folder: Path, road: str) -> tuple[object, list[Event]]:
    """What a road that pays again returns, or its error, and what it says."""
    if road != "retry":
        return send(service, folder, road, new=True)
    heard: list[Event] = []
    try:
        return again(service, folder, RUN, "missing", heard=heard), heard
    except (UsageError, NotFinished, NetworkError) as error:
        return error, heard


@LOST
@ROADS
@pytest.mark.parametrize("count", [6, 2])
def test_what_came_back_is_collected_and_not_paid_for_again(
    service: FakeService, tmp_path: Path, road: str, reason: str, count: int
) -> None:
    lost(service, tmp_path, reason)
    back(service, *KEYS[:count])

    ended, heard = pay(service, tmp_path, road)

    said = "The service no longer had batches/job0, or its results, and shows them again; collected its answers."
    assert said in sentences(heard)
    first = jobs_of(tmp_path)[0]
    assert (first.stage, first.lost, first.phase) == (JobStage.COLLECTED, None, Phase.SUCCEEDED)
    assert first.cancelled_at is None, "no one has cancelled it"
    if road == "retry" and count == 2:
        assert [job.keys for job in service.jobs] == [KEYS, KEYS[2:]]
        assert texts(held(service, tmp_path, RUN)) == GOOD
        return
    assert isinstance(ended, UsageError)
    assert ended.reason_code == ("nothing_to_retry" if road == "retry" else "late_answers")
    if road != "retry":
        assert f"batches/job0 was recorded as lost, but has answered {count} requests" in ended.message
    assert len(service.jobs) == 1, "nothing was sent"
    found = texts(held(service, tmp_path, RUN))
    assert {key: text for key, text in found.items() if text} == {key: GOOD[key] for key in KEYS[:count]}


@VERBS
def test_the_same_command_again_pays_for_all(service: FakeService, tmp_path: Path, verb: str) -> None:
    lost(service, tmp_path, "JOB_GONE")
    back(service, *KEYS)
    first, _ = send(service, tmp_path, verb, new=True)
    assert isinstance(first, UsageError)

    found, _ = send(service, tmp_path, verb, new=True)

    assert not isinstance(found, BaseException), found
    assert [job.keys for job in service.jobs] == [KEYS, KEYS]


@LOST
@ROADS
def test_what_is_still_lost_is_paid_for_as_the_user_says(
    service: FakeService, tmp_path: Path, road: str, reason: str
) -> None:
    """The service is asked for the job once, and nothing is said."""
    lost(service, tmp_path, reason)
    before = service.calls.count("get")

    found, heard = pay(service, tmp_path, road)

    assert not isinstance(found, BaseException), found
    assert [job.keys for job in service.jobs] == [KEYS, KEYS]
    assert "batches/job0" not in sentences(heard)
    assert service.calls[: service.calls.index("create", service.calls.index("create") + 1)].count("get") == before + 1


@ROADS
@pytest.mark.parametrize("state", ["alive", "late"])
def test_a_job_that_is_back_without_its_output_is_waited_for(
    service: FakeService, tmp_path: Path, road: str, state: str
) -> None:
    """It is a job like any other again: alive, or ended a moment ago with its output to come. ``run`` collects it."""
    lost(service, tmp_path, "JOB_GONE")
    job = service.jobs[0]
    job.deleted, job.output = False, state == "alive"
    if state == "alive":
        job.state, job.looks, service.polls_to_end = "BATCH_STATE_RUNNING", 0, 3
    else:
        finishes(service, *KEYS)

    ended, heard = pay(service, tmp_path, road)

    assert isinstance(ended, UsageError)
    assert ended.reason_code == ("not_finished" if road == "retry" else "late_answers")
    if road == "retry":
        assert str(ended.next).startswith(f"gemini-batch run {RUN}")
    else:
        step = f"status {RUN} --wait" if state == "alive" else f"results {RUN}"
        assert str(ended.next).startswith(f"gemini-batch {step}")
        assert "batches/job0 was recorded as lost, but the service shows it again, and answers" in ended.message
    assert "shows them again; nothing of it is sent again now." in sentences(heard)
    (known,) = jobs_of(tmp_path)
    assert (known.stage, known.lost) == (JobStage.CREATED if state == "alive" else JobStage.ENDED, None)
    assert known.cancelled_at is None
    job.output = True
    assert texts(work(service, tmp_path, RUN, RunOptions())) == GOOD
    assert len(service.jobs) == 1, "nothing was sent"


@ROADS
def test_a_service_that_cannot_say_is_not_taken_for_a_no(service: FakeService, tmp_path: Path, road: str) -> None:
    lost(service, tmp_path, "JOB_GONE")
    first, error = service.calls.count("get"), NetworkError("no", sent=True)
    service.faults = {("get", first + n): ("before", error) for n in range(50)}

    ended, _ = pay(service, tmp_path, road)

    assert isinstance(ended, NetworkError)
    assert len(service.jobs) == 1


@pytest.mark.parametrize("shown", [True, False], ids=["back", "still lost"])
def test_a_run_that_continues_an_interrupted_retry_asks_first(
    service: FakeService, tmp_path: Path, *, shown: bool
) -> None:
    """What a retry had chosen stays chosen, unless the job is back."""
    lost(service, tmp_path, "RESULTS_GONE")
    no = ApiError("no", status=400, reason="INVALID_ARGUMENT")
    service.faults = {("start_upload", service.calls.count("start_upload")): ("before", no)}
    with pytest.raises(ApiError):
        again(service, tmp_path, RUN, "missing")
    service.faults = {}
    if shown:
        back(service, *KEYS[:4])
    heard: list[Event] = []

    found = work(service, tmp_path, RUN, RunOptions(), heard=heard)

    assert ("An interrupted retry of its requests is not continued" in sentences(heard)) is shown
    # The job succeeded and left two without a line: such requests are resent once, as of any other job.
    assert [job.keys for job in service.jobs] == [KEYS, KEYS[4:] if shown else KEYS]
    assert texts(found) == GOOD


def test_a_job_whose_requests_were_resent_in_part_gives_the_rest(service: FakeService, tmp_path: Path) -> None:
    """A retry was interrupted after the first of its jobs: what waits still is not sent again."""
    lost(service, tmp_path, "RESULTS_GONE")
    no = ApiError("no", status=400, reason="INVALID_ARGUMENT")
    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        (made,) = ledger.runs()
        keep_options(ledger, made, RunOptions(max_requests_per_job=2), at=0.0)
    service.faults = {("create", 2): ("before", no)}
    with pytest.raises(ApiError):
        again(service, tmp_path, RUN, "missing")
    service.faults = {}
    assert [job.keys for job in service.jobs] == [KEYS, KEYS[:2]]
    back(service, *KEYS)

    found = work(service, tmp_path, RUN, RunOptions())

    assert [job.keys for job in service.jobs] == [KEYS, KEYS[:2]]
    assert texts(found) == GOOD


@pytest.mark.parametrize("shown", [True, False])
def test_a_job_whose_requests_were_all_resent_is_not_asked_for(
    service: FakeService, tmp_path: Path, *, shown: bool
) -> None:
    lost(service, tmp_path, "JOB_GONE")
    again(service, tmp_path, RUN, "missing")
    if shown:
        back(service, *KEYS)

    ended, heard = pay(service, tmp_path, "create")

    assert not isinstance(ended, BaseException), ended
    assert "batches/job0" not in sentences(heard)
    assert len(service.jobs) == 3


def test_answers_that_the_user_gave_up_are_not_asked_for(service: FakeService, tmp_path: Path) -> None:
    """``--accept-incomplete`` was the user's word, and the output is as incomplete as before."""
    send(service, tmp_path, "create")
    service.jobs[0].looks = 10**6
    finishes(service, "k0")
    service.counts_at_end = lambda _: (4, 0)
    ended, _ = do(service, tmp_path, lambda s: results(s, RUN))
    assert isinstance(ended, NotFinished)
    do(service, tmp_path, lambda s: results(s, RUN, accept_incomplete=True))
    (job,) = jobs_of(tmp_path)
    assert job.lost == "OUTPUT_INCOMPLETE"
    service.counts_at_end = lambda job: (len(job.keys), 0)

    found = again(service, tmp_path, RUN, "missing")

    assert [job.keys for job in service.jobs] == [KEYS, KEYS[1:]]
    assert texts(found) == GOOD


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_is_killed_while_it_collects_leaves_nothing_half_done(
    service: FakeService, tmp_path: Path, when: str
) -> None:
    lost(service, tmp_path, "JOB_GONE")
    back(service, *KEYS)
    service.faults = {("download", service.calls.count("download")): (when, Killed())}  # type: ignore[dict-item]
    died, _ = send(service, tmp_path, "create", new=True)
    assert isinstance(died, Killed)
    service.faults = {}

    ended, _ = send(service, tmp_path, "create", new=True)

    assert isinstance(ended, UsageError)
    assert texts(held(service, tmp_path, RUN)) == GOOD
    assert len(service.jobs) == 1
