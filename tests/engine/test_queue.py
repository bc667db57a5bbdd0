"""The tokens that a model's queue takes: what is learned of them, and how a queue that is full is filled again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from engine.fake import Job as FakeJob
from engine.steps import GOOD, texts, work
from gemini_batch.catalog import Method
from gemini_batch.engine import scheduler as s
from gemini_batch.engine.quota import Limits, QueueQuota
from gemini_batch.errors import ServiceError
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import Job, JobStage, QuotaBounds, Run
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows.row_records import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODEL = "gemini-3-flash-preview"
LIMITS = Limits(requests=100, bytes=1000, tokens=None, jobs=100)


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", list(GOOD))
    return FakeService(Clock(), chunk=10_000)


def job(number: int, stage: JobStage, *, tokens: int = 10, requests: int = 1) -> Job:
    return Job(
        id=f"run-a-{number}", run="run-a", ordinal=number, model=MODEL, requests=requests, tokens=tokens, part=None,
        offset=0, bytes=10, sha256="", input_kind="file", display_name="n", stage=stage, intended_at=1.0,
        created_at=1.0, key_fingerprint="key",
    )  # fmt: skip


def actions(
    jobs: tuple[Job, ...] = (),
    *,
    waiting: int = 1000,
    queued: int = 0,
    accepted: int | None = None,
    one_at_a_time: bool = False,
    limits: Limits = LIMITS,
) -> list[s.Action]:
    """What is done next, apart from waiting."""
    found = s.schedule(
        s.Facts(
            waiting=Waiting(25, 25, waiting), jobs=jobs, busy=frozenset(), queued=queued, living=1,
            quota_bounds=QuotaBounds(None if accepted is None else accepted + 1, accepted), hold_until=0.0, hold_why="",
            poll_at=500.0, others=False, poll_others_at=0.0, later={}, closed=False, one_at_a_time=one_at_a_time,
        ),
        limits,
        1.0,
    )  # fmt: skip
    return [one for one in found if not isinstance(one, s.Wait)]


@pytest.mark.parametrize(
    ("waiting", "queued", "accepted", "planned"),
    [
        (1000, 0, None, [s.Plan(None)]),
        (1000, 0, 800, [s.Plan(800)]),
        (1000, 700, 800, [s.Plan(100)]),
        (1000, 701, 800, []),  # less than an eighth of the queue is worth no job
        (99, 701, 800, [s.Plan(99)]),  # all that waits is
        (100, 701, 800, []),
        (8000, 701, 800, []),
        (1, 800, 800, []),
        (1000, 0, 1, [s.Plan(1)]),
    ],
)
def test_crumbs_of_the_queue_are_not_filled(
    waiting: int, queued: int, accepted: int | None, planned: list[s.Action]
) -> None:
    assert actions(waiting=waiting, queued=queued, accepted=accepted) == planned


@pytest.mark.parametrize(
    ("limits", "queued", "is_planned"),
    [
        (replace(LIMITS, tokens=20), 780, True),
        (replace(LIMITS, tokens=20), 781, False),
        (replace(LIMITS, requests=1), 760, True),  # one request of 25 has 40 of 1000 tokens
        (replace(LIMITS, requests=1), 761, False),
        (replace(LIMITS, bytes=2), 720, True),
        (replace(LIMITS, bytes=2), 721, False),
    ],
)
def test_what_fills_a_job_is_no_crumb(limits: Limits, queued: int, is_planned: bool) -> None:
    assert bool(actions(limits=limits, queued=queued, accepted=800)) is is_planned


def test_after_a_refusal_one_job_tests_whether_there_is_room() -> None:
    """The first that fits: the one before it may wait for more room than there is."""
    jobs = (job(1, JobStage.UPLOADED, tokens=90), job(2, JobStage.UPLOADED), job(3, JobStage.UPLOADED))
    assert actions(jobs, queued=50, accepted=100) == [s.Make(2), s.Make(3)]
    assert actions(jobs, queued=50, accepted=100, one_at_a_time=True) == [s.Make(2)]
    in_doubt = (job(1, JobStage.INTENDED), job(2, JobStage.UPLOADED))
    assert actions(in_doubt) == [s.Make(1), s.Make(2)]
    assert actions(in_doubt, one_at_a_time=True) == [s.Make(1)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of a run with a job in the queue."""
    run = Run(
        id="run-a", identity="a", origin="made", created_at=1.0, method=Method.GENERATE, model=MODEL, backend="b",
        requests=3, bytes=30, sha256=None, source=None,
    )  # fmt: skip
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_run(run, None, at=1.0)
        ledger.add_job(job(1, JobStage.CREATED, tokens=30), at=1.0)
        yield ledger


@pytest.fixture
def quota(ledger: Ledger) -> QueueQuota:
    clock = Clock()
    clock.now = 2.0
    return QueueQuota(ledger, "key", MODEL, LIMITS, clock.world())


def test_a_create_without_an_answer_is_not_certainly_in_the_queue(ledger: Ledger, quota: QueueQuota) -> None:
    """A sum that was accepted counts what was seen there; a sum that was refused, what may be there."""
    ledger.add_job(job(2, JobStage.INTENDED, tokens=500), at=1.0)
    third = job(3, JobStage.CREATED, tokens=7)
    ledger.add_job(third, at=2.0)
    quota.accepted(third)
    assert quota.quota_bounds() == QuotaBounds(None, 37)
    quota.refused(job(4, JobStage.UPLOADED, tokens=9), ServiceError("full"))
    assert quota.quota_bounds() == QuotaBounds(546, 37)


def test_what_ends_before_a_refusal_is_certain_was_in_the_queue(ledger: Ledger, quota: QueueQuota) -> None:
    """For half a minute, the list is read for a job that was created although it was refused."""
    second = job(2, JobStage.UPLOADED, tokens=9, requests=2)
    assert quota.may_send(second)
    ledger.update_job(ledger.job("run-a-1"), "ended", at=20.0, stage=JobStage.ENDED)
    quota.refused(second, ServiceError("full"))
    assert quota.quota_bounds() == QuotaBounds(39, None)


def test_a_sum_that_was_thought_accepted_is_doubted_within_hours(service: FakeService, tmp_path: Path) -> None:
    """It counts for a day otherwise, in which a job that is too large is sent again and again."""
    size = (tmp_path / "in.jsonl").stat().st_size // 4
    thought = QuotaBounds(None, size * 10)
    with FakeSession(service, tmp_path / "home").ledger() as ledger:
        key = ledger.key_fingerprint("a-key")
        ledger.set_quota_bounds(key, MODEL, thought, at=service.clock.now)
    service.most_tokens = size // 2

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD

    assert service.clock.monotonic < 6 * 3600
    with FakeSession(service, tmp_path / "home").ledger() as ledger:  # for other programs may have been there
        assert ledger.quota_bounds(key, MODEL, at=service.clock.now) == thought


def test_jobs_that_are_refused_together_are_one_refusal(service: FakeService, tmp_path: Path) -> None:
    """A project that refuses a single request for an hour is given up, not one that refuses six jobs at once."""
    service.most_jobs = 0
    begin = service._begin

    def room_comes(name: str) -> Callable[[], None]:
        if service.clock.monotonic > 100:
            service.most_jobs = None
        return begin(name)

    service._begin = room_comes  # type: ignore[method-assign, assignment]

    assert texts(work(service, tmp_path, options=RunOptions(max_requests_per_job=1))) == GOOD

    assert service.refusals > len(GOOD) == s.MAKERS


# A run in a queue with others ----------------------------------------------------------------------------------------


class Queue(FakeService):
    """A queue of ``room`` tokens, whose jobs take an hour.

    ``others``: the share that other programs hold, and between which hours. ``frees_after``: seconds for which the
    tokens of a job that has ended stay reserved.
    """

    room = 0
    others = (0.0, 0.0, 0.0)
    frees_after = 0.0

    def _move(self, job: FakeJob) -> None:
        self.polls_to_end = job.looks + (1 if self.clock.now >= job.created + 3600 else 10)
        super()._move(job)

    async def create(self, *args: Any, **more: Any) -> Any:
        now = self.clock.now
        ended = [job for job in self.jobs if not job.alive]
        reserved = sum(job.tokens for job in ended if now < job.created + 3600 + self.frees_after)
        share, begin, end = self.others
        held = share * self.room if begin * 3600 <= self.clock.monotonic < end * 3600 else 0.0
        self.most_tokens = int(self.room - reserved - held)
        return await super().create(*args, **more)


ALONE, SHUT_15_MINUTES, SHUT_3_HOURS = (0.0, 0, 0), (1.0, 0, 0.25), (1.0, 0, 3)
HALF_3_HOURS, HALF_6_HOURS, HALF_12_HOURS = (0.5, 0, 3), (0.5, 0, 6), (0.5, 0, 12)


@pytest.mark.parametrize(
    ("thought", "others", "frees_after", "hours", "jobs", "refusals"),
    [
        (1.0, ALONE, 0, 11, 10, 0),
        (1.0, ALONE, 600, 12, 10, 30),
        (1.0, ALONE, 1800, 17, 10, 50),
        (1.0, SHUT_15_MINUTES, 0, 11, 10, 4),
        (1.0, SHUT_3_HOURS, 0, 14, 10, 12),
        (1.0, HALF_3_HOURS, 0, 14, 10, 12),
        (1.0, HALF_6_HOURS, 0, 17, 20, 24),
        (1.0, HALF_12_HOURS, 0, 21, 17, 25),
        (2.0, ALONE, 0, 16, 11, 25),
        (4.0, ALONE, 0, 17, 12, 32),
        (None, ALONE, 0, 18, 20, 5),
        (None, HALF_3_HOURS, 0, 29, 35, 10),
        (None, SHUT_15_MINUTES, 0, 19, 20, 16),
    ],
)
def test_a_run_of_ten_times_the_queue(
    tmp_path: Path,
    thought: float | None,
    others: tuple[float, float, float],
    frees_after: float,
    hours: float,
    jobs: int,
    refusals: int,
) -> None:
    """Ten jobs of an hour, if all is known. ``thought``: how much the queue is thought to take, for what it takes."""
    write_requests(tmp_path / "in.jsonl", [f"k{number}" for number in range(640)])
    tenth = (tmp_path / "in.jsonl").stat().st_size // 4 // 10
    service = Queue(Clock(), chunk=1_000_000)
    service.others, service.frees_after, service.room = others, frees_after, tenth * 11 // 10
    if thought is not None:
        with FakeSession(service, tmp_path / "home").ledger() as ledger:
            known = QuotaBounds(int(tenth * thought) + 1, int(tenth * thought))
            ledger.set_quota_bounds(ledger.key_fingerprint("a-key"), MODEL, known, at=service.clock.now)

    assert work(service, tmp_path, options=RunOptions()).summary.all_succeeded

    assert service.clock.monotonic < hours * 3600
    assert len(service.jobs) <= jobs
    assert service.refusals <= refusals


def test_uploads_that_take_longer_than_what_is_known_holds(tmp_path: Path) -> None:
    """What others sent during the upload counts."""
    write_requests(tmp_path / "in.jsonl", [f"k{number}" for number in range(300)])
    service = Queue(Clock(), chunk=1_000_000)
    service.room = (tmp_path / "in.jsonl").stat().st_size // 4 // 60 * 6  # a little more than five jobs
    send = service.send_upload

    async def sending(*words: Any, **more: Any) -> Any:
        await service.clock.sleep(600)
        return await send(*words, **more)

    service.send_upload = sending  # type: ignore[method-assign]

    assert work(service, tmp_path, options=RunOptions(max_requests_per_job=5)).summary.all_succeeded

    assert service.clock.monotonic < 14 * 3600
    assert service.refusals <= 8
