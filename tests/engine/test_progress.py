"""Requests done, while jobs are at work: by the service's own counts, nothing twice, and never backwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.fake import FakeService, answer_line
from engine.fake import Job as RemoteJob
from engine.steps import KEYS, PAIRS, again, jobs_of, work
from gemini_batch.events import JobSeen, RunProgress, Transfer
from gemini_batch.money.book import default_book
from gemini_batch.report.summary import Progress, uncollected
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import Job, JobStage
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.state_folder import RunFolder

if TYPE_CHECKING:
    from gemini_batch.events import Event


def failed_line(key: str) -> bytes:
    """An answer that passes when it is asked for again."""
    return b'{"key": "%s", "error": {"code": 14, "message": "later"}}' % key.encode()


def job(ordinal: int, stage: JobStage, *, succeeded: int = 0, failed: int = 0, lost: str | None = None) -> Job:
    return Job(
        id=f"run-a-{ordinal}", run="run-a", ordinal=ordinal, model="m", requests=10, tokens=10, part=None, offset=0,
        bytes=10, sha256=None, input_kind="file", display_name="n", stage=stage, succeeded=succeeded, failed=failed,
        lost=lost,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("jobs", "settled", "expected"),
    [
        ([], set(), (0, 0)),
        ([job(1, JobStage.CREATED, succeeded=3, failed=1)], set(), (3, 1)),
        ([job(1, JobStage.ENDED, succeeded=9, failed=1)], set(), (9, 1)),
        ([job(1, JobStage.COLLECTED, succeeded=9, failed=1)], {1}, (0, 0)),
        ([job(1, JobStage.COLLECTED, succeeded=9, failed=1)], set(), (9, 0)),
        ([job(1, JobStage.UPLOADED, succeeded=9)], set(), (0, 0)),
        ([job(1, JobStage.ENDED, succeeded=9, lost="JOB_GONE")], set(), (0, 0)),
        ([job(1, JobStage.CREATED, succeeded=99, failed=99)], set(), (10, 0)),
        ([job(1, JobStage.CREATED, succeeded=7, failed=99)], set(), (7, 3)),
        ([job(1, JobStage.CREATED, succeeded=3), job(2, JobStage.ENDED, failed=2)], set(), (3, 2)),
    ],
    ids=["none", "alive", "ended", "held here", "about to be resent", "not made", "lost", "nonsense",
         "more failed than there are", "two"],
)  # fmt: skip
def test_what_the_service_counts(jobs: list[Job], settled: set[int], expected: tuple[int, int]) -> None:
    assert uncollected(jobs, settled) == expected


def counting(job: RemoteJob) -> tuple[int, int]:
    """One request more at each poll after the first, as long as the job lives."""
    return min(max(0, job.looks - 1), len(job.keys)), 0


def heard_of(service: FakeService, folder: Path, options: RunOptions) -> list[RunProgress]:
    heard: list[Event] = []
    work(service, folder, options=options, heard=heard)
    return [event for event in heard if isinstance(event, RunProgress)]


def test_requests_of_living_jobs_are_done_as_the_service_counts_them(service: FakeService, tmp_path: Path) -> None:
    """Long before the job has ended, and its answers are here."""
    service.polls_to_end, service.counts = 9, counting

    told = heard_of(service, tmp_path, RunOptions())

    alive = [event for event in told if event.alive]
    assert [event.done for event in alive] == sorted(event.done for event in alive)
    assert {event.done for event in alive} >= {0, 1, 2, 3, 4, 5}
    assert all(event.done == event.uncollected_succeeded and not event.verdicts for event in alive)
    assert (told[-1].done, told[-1].uncollected_succeeded, told[-1].verdicts) == (6, 0, {"succeeded": 6})


def test_nothing_is_counted_twice_when_a_job_comes_in(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end, service.counts = 6, lambda job: (len(job.keys), 0)

    told = heard_of(service, tmp_path, PAIRS)

    assert max(event.done for event in told) == 6
    assert all(event.done == 6 for event in told if event.jobs == 3 and event.alive == 3)


def test_it_does_not_go_backwards_when_requests_are_resent(service: FakeService, tmp_path: Path) -> None:
    """Four fail temporarily in the first job; they are done when they have a good answer, not before."""
    service.polls_to_end = 6
    service.answer_at = lambda key, attempt: failed_line(key) if attempt == 1 and key in KEYS[:4] else answer_line(key)
    service.counts = lambda job: (2, 4) if len(job.keys) == 6 else (min(job.looks, 4), 0)

    told = heard_of(service, tmp_path, RunOptions())

    done = [event.done for event in told]
    assert done == sorted(done)
    assert (done[-1], told[-1].requests) == (6, 6)
    first = [event for event in told if event.jobs == 1 and event.alive]
    assert {(event.done, event.uncollected_failed) for event in first} >= {(2, 4)}
    assert max(event.done for event in first) == 2, "what failed temporarily is not done"
    assert {3, 4, 5} <= set(done), "the second job's requests count one by one"


def test_requests_that_wait_for_their_turn_again_are_not_done(service: FakeService, tmp_path: Path) -> None:
    """The job is collected, and what failed in it is not taken out of it yet."""
    service.answer_at = lambda key, _: failed_line(key) if key in KEYS[:4] else answer_line(key)
    first = work(service, tmp_path, options=RunOptions(attempts=1))
    (done,) = jobs_of(tmp_path)
    progress = Progress(default_book())
    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        begun = ledger.run_of(done)
    with RunFolder(Path(first.summary.folder)).rows() as rows:
        progress.count(rows, begun, (done,), {done.ordinal})
        assert progress.done == done.succeeded
        rows.requeue(done.ordinal, reasons=("UNAVAILABLE",), most=3, most_unanswered=3)
        progress.count(rows, begun, (done,), set())

    assert progress.done == 2


def test_an_output_that_lacks_what_was_counted_takes_nothing_back(service: FakeService, tmp_path: Path) -> None:
    """The service counts six and hands out four: two are resent, and the bar waits for them."""
    service.answer_at = lambda key, attempt: None if attempt == 1 and key in KEYS[:2] else answer_line(key)
    service.polls_to_end, service.counts = 4, lambda job: (len(job.keys), 0)

    done = [event.done for event in heard_of(service, tmp_path, RunOptions())]

    assert done == sorted(done)
    assert done[-1] == 6


def test_a_retry_begins_with_what_stays(service: FakeService, tmp_path: Path) -> None:
    """What the user resends is not done until it is answered."""
    service.answer_at = lambda key, attempt: answer_line(key) if attempt > 1 or key not in KEYS[:2] else None
    service.polls_to_end = 6
    first = work(service, tmp_path, options=RunOptions(attempts=1))
    service.counts = counting
    heard: list[Event] = []

    again(service, tmp_path, first.summary.run, "missing", heard=heard)

    done = [event.done for event in heard if isinstance(event, RunProgress)]
    assert (min(done), done[-1]) == (4, 6)
    assert done == sorted(done)
    assert 5 in done


def test_a_second_process_goes_on_counting(service: FakeService, tmp_path: Path) -> None:
    """What is held here counts from its first event on."""
    service.ends[1] = ("BATCH_STATE_FAILED", 3)
    work(service, tmp_path)
    heard: list[Event] = []
    first = work(service, tmp_path, heard=heard)
    assert first.summary.verdicts == {"succeeded": 4, "missing": 2}

    again(service, tmp_path, first.summary.run, "missing", heard=heard)

    done = [event.done for event in heard if isinstance(event, RunProgress)]
    assert (done[0], done[-1]) == (4, 6)


def test_transfers_say_whose_they_are_and_that_they_are_over(service: FakeService, tmp_path: Path) -> None:
    """Several jobs are uploaded at the same time, so a size alone would leap to and fro."""
    heard: list[Event] = []
    work(service, tmp_path, heard=heard)

    transfers = [event for event in heard if isinstance(event, Transfer)]
    run = next(event.run for event in heard if isinstance(event, RunProgress))
    for what in ("uploading", "downloading", "judging"):
        ends = {event.job: event for event in transfers if event.what == what}
        assert set(ends) == {f"{run}-{ordinal}" for ordinal in (1, 2, 3)}, what
        assert all(event.done == event.total for event in ends.values()), what
    assert not any(isinstance(event, JobSeen) for event in heard)
