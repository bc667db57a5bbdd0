"""What the service counts as answered is never paid for twice, and a count that contradicts ours is no permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.fake import FakeService, Job, answer_line
from engine.steps import GOOD, KEYS, ONCE, again, held, jobs_of, reasons, texts, work
from gemini_batch.engine.backoff import LATE_COUNTED, LATE_SUCCEEDED
from gemini_batch.errors import NotFinished
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = RunOptions()
ENDS = pytest.mark.parametrize(
    ("state", "code"), [("FAILED", 13), ("FAILED", 3), ("EXPIRED", None), ("SUCCEEDED", None), ("CANCELLED", None)]
)


def first_ends(service: FakeService, state: str, code: int | None, counted: tuple[int, int]) -> None:
    """The first job ends so, counts answers, and shows no output."""
    service.ends = {0: (f"BATCH_STATE_{state}", code)}
    service.counts_at_end = lambda job: counted if job is service.jobs[0] else (0, 0)
    operation = service._operation

    def hidden(job: Job) -> object:
        found = operation(job)
        if job is service.jobs[0] and job.output:
            assert found.metadata is not None
            found.metadata.output = None
        return found

    service._operation = hidden  # type: ignore[method-assign,assignment]


@ENDS
@pytest.mark.parametrize("counted", [1, 4, 6])
def test_counted_answers_without_output_are_waited_for_and_never_resent(
    service: FakeService, tmp_path: Path, state: str, code: int | None, counted: int
) -> None:
    """It is unknown which requests are counted, so none is resent until the user says so."""
    first_ends(service, state, code, (counted, 0))

    following = ""
    for _ in range(2):
        with pytest.raises(NotFinished, match=f"not available yet; the service counts {counted} answers") as caught:
            work(service, tmp_path, options=WHOLE)
        assert (caught.value.reason_code, caught.value.exit_code) == ("output_incomplete", 6)
        following = str(caught.value.next)

    (run,) = {job.run for job in jobs_of(tmp_path)}
    assert following.startswith(f"gemini-batch results {run} --accept-incomplete")
    assert service.clock.monotonic >= (LATE_COUNTED if state == "CANCELLED" else LATE_SUCCEEDED)
    assert service.paid() == ONCE
    found = held(service, tmp_path, run, accept_incomplete=True)
    assert reasons(found) == dict.fromkeys(KEYS, "OUTPUT_INCOMPLETE")
    assert work(service, tmp_path, run, None).summary.verdicts == {"missing": 6}
    assert service.paid() == ONCE
    service.clock.pass_by(1.0)
    service._operation = FakeService._operation.__get__(service)  # type: ignore[method-assign]
    assert texts(again(service, tmp_path, run, "missing")) == GOOD


@ENDS
def test_counted_answers_count_as_soon_as_they_show(
    service: FakeService, tmp_path: Path, state: str, code: int | None
) -> None:
    first_ends(service, state, code, (6, 0))

    def shows() -> None:
        service._operation = FakeService._operation.__get__(service)  # type: ignore[method-assign]
        service.jobs[0].lines = [answer_line(key) for key in KEYS]

    service.after(500.0 if state == "CANCELLED" else 20 * 3600.0, shows)

    assert texts(work(service, tmp_path, options=WHOLE)) == GOOD
    assert service.paid() == ONCE


@pytest.mark.parametrize(("failed", "resent"), [(0, True), (2, False), (6, False)])
@pytest.mark.parametrize(("state", "code"), [("FAILED", 13), ("EXPIRED", None)])
def test_requests_counted_as_failed_are_counted_too(
    service: FakeService, tmp_path: Path, state: str, code: int | None, failed: int, *, resent: bool
) -> None:
    """Nothing is waited for, because no answer is due; but some were worked on, and nobody knows which."""
    first_ends(service, state, code, (0, failed))

    found = work(service, tmp_path, options=WHOLE)

    assert service.clock.monotonic < 3600.0
    assert len(service.jobs) == (2 if resent else 1)
    assert found.summary.verdicts == ({"succeeded": 6} if resent else {"missing": 6})


@pytest.mark.parametrize("total", [3, 5, 7])
@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "EXPIRED"])
def test_another_number_of_requests_is_no_permission(
    service: FakeService, tmp_path: Path, state: str, total: int
) -> None:
    """The service says of the job that it has another number of requests than were sent, and some lack an answer."""
    service.ends = {0: (f"BATCH_STATE_{state}", 13 if state == "FAILED" else None)}
    service.arrange = lambda lines: lines[:3]
    given = 3 if state == "SUCCEEDED" else 0
    service._stats = lambda job: {"requestCount": str(total), "successfulRequestCount": str(given)}  # type: ignore[method-assign]

    if state == "SUCCEEDED":
        with pytest.raises(NotFinished, match=f"6 requests were sent, the service counts {total} and gives 3") as ended:
            work(service, tmp_path, options=WHOLE)
        assert ended.value.reason_code == "output_incomplete"
        assert service.clock.monotonic >= LATE_SUCCEEDED
    else:
        assert work(service, tmp_path, options=WHOLE).summary.verdicts == {"missing": 6}

    assert service.paid() == ONCE


@pytest.mark.parametrize("lines", [0, 4])
def test_a_success_that_counts_nothing_is_complete_only_with_all_answers(
    service: FakeService, tmp_path: Path, lines: int
) -> None:
    service.arrange = lambda found: found[:lines]
    service._stats = lambda job: {}  # type: ignore[method-assign]

    with pytest.raises(NotFinished) as ended:
        work(service, tmp_path, options=WHOLE)
    assert ended.value.reason_code == "output_incomplete"
    assert service.clock.monotonic >= LATE_SUCCEEDED
    service.jobs[0].lines = [answer_line(key) for key in KEYS]
    assert texts(work(service, tmp_path, options=WHOLE)) == GOOD
    assert service.paid() == ONCE


@pytest.mark.parametrize("total", [0, 3, 7])
def test_another_number_of_requests_costs_no_answer(service: FakeService, tmp_path: Path, total: int) -> None:
    service._stats = lambda job: {"requestCount": str(total)}  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=WHOLE)) == GOOD
    assert service.paid() == ONCE
