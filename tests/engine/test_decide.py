"""The decisions, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.engine.create_policy import (
    MOST_SENDS,
    Adopt,
    Facts,
    GiveUp,
    Made,
    ReadList,
    Send,
    Step,
    Upload,
    certainly_refused,
    made_by,
    next_step,
    standing,
)
from gemini_batch.engine.poller import poll_wait
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.store.records import Job, JobStage
from gemini_batch.wire import Phase, RemoteJob

NOW = 1000.0


def facts(stage: JobStage = JobStage.INTENDED, **changes: object) -> Facts:
    values = {"stage": stage, "input_kind": "file", "intended_at": NOW, "create_calls": 1, **changes}
    return Facts(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "now", "step"),
    [
        (facts(JobStage.PLANNED), NOW, Upload()),
        (facts(JobStage.PLANNED, input_kind="inline"), NOW, Send()),
        (facts(JobStage.UPLOADED), NOW, Send()),
        (facts(), NOW, ReadList(0.0)),
        (facts(), NOW + 500, ReadList(0.0)),
        (facts(passes=1, last_pass=NOW), NOW, ReadList(1.0)),
        (facts(passes=2, last_pass=NOW + 1), NOW + 1, ReadList(2.0)),
        (facts(passes=4, last_pass=NOW + 20), NOW + 27, ReadList(3.0)),
        (facts(passes=9, last_pass=NOW + 29.9), NOW + 30, ReadList(0.0)),
        (facts(passes=1, last_pass=NOW + 500), NOW + 500, ReadList(0.0)),
        (facts(passes=2, last_pass=NOW + 500), NOW + 500, Send()),
        (facts(passes=2, last_pass=NOW + 500, create_calls=MOST_SENDS), NOW + 500, GiveUp("unanswered")),
        (facts(passes=2, last_pass=NOW + 500, over_quota=True), NOW + 500, GiveUp("over quota")),
        (facts(passes=1, last_pass=NOW, found=("batches/x",)), NOW, Adopt("batches/x")),
        (facts(passes=1, last_pass=NOW, found=("batches/x", "batches/y")), NOW, Adopt("batches/x")),
        (facts(input_kind="inline", passes=1, found=("batches/x", "batches/y")), NOW, GiveUp("ambiguous")),
        (facts(JobStage.CREATED), NOW, Made()),
        (facts(JobStage.ENDED), NOW, Made()),
        (facts(JobStage.COLLECTED), NOW, Made()),
    ],
)
def test_what_comes_next(known: Facts, now: float, step: Step) -> None:
    assert next_step(known, now, settle=30.0) == step


@given(
    passes=st.integers(0, 5),
    last=st.none() | st.floats(0, 100),
    now=st.floats(0, 200),
    settle=st.floats(0, 60),
    create_calls=st.integers(1, 4),
)
def test_nothing_is_sent_twice_without_two_passes_and_the_time(
    passes: int, last: float | None, now: float, settle: float, create_calls: int
) -> None:
    """The rule of the ambiguous create, for all inputs."""
    known = facts(intended_at=0.0, passes=passes, last_pass=last, create_calls=create_calls)

    step = next_step(known, now, settle=settle)

    if isinstance(step, Send):
        assert passes >= 2
        assert (last or 0.0) >= settle
    if isinstance(step, ReadList):
        assert 0.0 <= step.wait <= 15.0


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (NetworkError("dns", sent=False), True),
        (NetworkError("reset", sent=True), False),
        (ApiError("", status=400), True),
        (ApiError("", status=403), True),
        (ApiError("", status=404), True),
        (ApiError("", status=408), False),
        (ApiError("", status=409), False),
        (ApiError("", status=429), False),
        (ApiError("", status=500), False),
        (ApiError("", status=503), False),
        (ApiError("", status=302), False),
        (ServiceError("unreadable"), False),
    ],
)
def test_what_is_certainly_refused(error: Exception, certain: bool) -> None:
    assert certainly_refused(error) is certain


def job(**changes: object) -> Job:
    values = {
        "id": "run-a-1", "run": "run-a",
        "ordinal": 1, "model": "m", "requests": 3, "tokens": 9, "part": None, "offset": 0, "bytes": 9, "sha256": "x",
        "input_kind": "file",
        "display_name": "n", "stage": JobStage.INTENDED, "file": "files/gb-x", "intended_at": NOW, **changes,
    }  # fmt: skip
    return Job(**values)  # type: ignore[arg-type]


def remote(name: str = "batches/x", **changes: object) -> RemoteJob:
    values = {
        "name": name, "state": "JOB_STATE_PENDING", "phase": Phase.ALIVE, "model": "m", "display_name": "n",
        "total": 3, "create_time": NOW + 1, **changes,
    }  # fmt: skip
    return RemoteJob(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "there", "found"),
    [
        (job(), remote(file_name="files/gb-x"), True),
        (job(), remote(file_name="files/gb-y"), False),
        (job(), remote(file_name=None), False),
        (job(file=None), remote(file_name=None), False),
        (job(input_kind="inline"), remote(), True),
        (job(input_kind="inline"), remote(file_name="files/gb-x"), False),
        (job(input_kind="inline"), remote(display_name="other"), False),
        (job(input_kind="inline"), remote(model="other"), False),
        (job(input_kind="inline"), remote(total=4), False),
        (job(input_kind="inline"), remote(create_time=NOW - 1000), False),
        (job(input_kind="inline"), remote(create_time=NOW - 100), True),
        (job(input_kind="inline"), remote("batches/known"), False),
    ],
)
def test_which_job_a_create_in_doubt_has_made(ours: Job, there: RemoteJob, found: bool) -> None:
    assert bool(made_by(ours, [there], known=frozenset({"batches/known"}))) is found


PLANNED = {"stage": JobStage.PLANNED}
ALIVE = {"stage": JobStage.CREATED}
SUCCEEDED = {"stage": JobStage.ENDED, "phase": Phase.SUCCEEDED}
FAILED = {"stage": JobStage.COLLECTED, "phase": Phase.FAILED}
CANCELLED = {"stage": JobStage.ENDED, "phase": Phase.CANCELLED}


@pytest.mark.parametrize(
    ("jobs", "answered", "expected"),
    [
        ([], 0, "unfinished"),
        ([PLANNED], 0, "unfinished"),
        ([{"stage": JobStage.UPLOADED}], 0, "unfinished"),
        ([{"stage": JobStage.INTENDED}], 0, "unfinished"),
        ([ALIVE], 0, "attach"),
        ([SUCCEEDED], 0, "attach"),
        ([{"stage": JobStage.COLLECTED, "phase": Phase.SUCCEEDED}], 0, "attach"),
        ([{"stage": JobStage.ENDED, "phase": Phase.FAILED}], 0, "over"),
        ([{"stage": JobStage.ENDED, "phase": Phase.EXPIRED}], 0, "over"),
        ([CANCELLED], 0, "attach"),
        ([{**FAILED, "cancelled_at": NOW}], 0, "attach"),
        ([{**CANCELLED, "output_file": "files/batch-x"}], 0, "attach"),
        ([{"stage": JobStage.COLLECTED, "phase": Phase.EXPIRED, "succeeded": 2}], 0, "attach"),
        ([{**FAILED, "lost": "JOB_GONE"}], 0, "attach"),
        ([FAILED, FAILED], 0, "over"),
        ([FAILED, FAILED], 1, "attach"),
        ([FAILED, PLANNED], 0, "unfinished"),
        ([FAILED, PLANNED], 1, "attach"),
        ([FAILED, ALIVE, PLANNED], 0, "attach"),
        ([PLANNED, PLANNED], 0, "unfinished"),
    ],
)
def test_what_known_jobs_mean_for_a_create(jobs: list[dict[str, Any]], answered: int, expected: str) -> None:
    assert standing([job(**changes) for changes in jobs], answered=answered) == expected


def test_the_rhythm_of_polling() -> None:
    """At once, then 1 s growing by half to 60 s, and 300 s after an hour; or as the user says."""
    waits = [poll_wait(n, 0.0, fixed=None) for n in range(30)]
    assert waits[:3] == [1.0, 1.5, 2.25]
    assert waits == sorted(waits)
    assert max(waits) == 60.0
    assert poll_wait(10**6, 3599.0, fixed=None) == 60.0
    assert poll_wait(5, 3600.0, fixed=None) == 300.0
    assert poll_wait(10**6, 9e9, fixed=7.0) == 7.0
