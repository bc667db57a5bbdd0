"""The decisions, as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.engine.backoff import (
    LATE_COUNTED,
    LATE_SUCCEEDED,
    LATE_UNSAID,
    Output,
    PollBackoff,
    output_of,
    room_at,
)
from gemini_batch.engine.creating.create_policy import (
    MAX_CREATE_CALLS,
    Adopt,
    Facts,
    GiveUp,
    Made,
    ReadList,
    Send,
    Step,
    Upload,
    made_by,
    next_step,
    standing,
)
from gemini_batch.settings import Settings
from gemini_batch.store.ledger.records import Job, JobStage
from gemini_batch.wire import Operation, Phase, RemoteJob

if TYPE_CHECKING:
    from pathlib import Path

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
        (facts(list_reads=1, last_list_read=NOW), NOW, ReadList(1.0)),
        (facts(list_reads=2, last_list_read=NOW + 1), NOW + 1, ReadList(2.0)),
        (facts(list_reads=4, last_list_read=NOW + 20), NOW + 27, ReadList(3.0)),
        (facts(list_reads=9, last_list_read=NOW + 29.9), NOW + 30, ReadList(0.0)),
        (facts(list_reads=1, last_list_read=NOW + 500), NOW + 500, ReadList(0.0)),
        (facts(list_reads=2, last_list_read=NOW + 500), NOW + 500, Send()),
        (facts(list_reads=2, last_list_read=NOW + 500, create_calls=MAX_CREATE_CALLS), NOW + 500, GiveUp("unanswered")),
        (facts(list_reads=2, last_list_read=NOW + 500, over_quota=True), NOW + 500, GiveUp("over quota")),
        (facts(list_reads=1, last_list_read=NOW, found=("batches/x",)), NOW, Adopt("batches/x")),
        (
            facts(list_reads=1, last_list_read=NOW, found=("batches/x", "batches/y"), proven=True),
            NOW,
            Adopt("batches/x"),
        ),
        (facts(list_reads=1, last_list_read=NOW, found=("batches/x", "batches/y")), NOW, GiveUp("ambiguous")),
        (facts(input_kind="inline", list_reads=1, found=("batches/x", "batches/y")), NOW, GiveUp("ambiguous")),
        (facts(JobStage.CREATED), NOW, Made()),
        (facts(JobStage.ENDED), NOW, Made()),
        (facts(JobStage.COLLECTED), NOW, Made()),
    ],
)
def test_what_comes_next(known: Facts, now: float, step: Step) -> None:
    assert next_step(known, now, settle=30.0) == step


@given(
    list_reads=st.integers(0, 5),
    last=st.none() | st.floats(0, 100),
    now=st.floats(0, 200),
    settle=st.floats(0, 60),
    create_calls=st.integers(1, 4),
)
def test_nothing_is_sent_twice_without_two_passes_and_the_time(
    list_reads: int, last: float | None, now: float, settle: float, create_calls: int
) -> None:
    """The rule of the ambiguous create, for all inputs."""
    known = facts(intended_at=0.0, list_reads=list_reads, last_list_read=last, create_calls=create_calls)

    step = next_step(known, now, settle=settle)

    if isinstance(step, Send):
        assert list_reads >= 2
        assert (last or 0.0) >= settle
    if isinstance(step, ReadList):
        assert 0.0 <= step.wait <= 15.0


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
        # The list need not show the input file: then the rest of what is known has to do.
        (job(), remote(file_name=None), True),
        (job(), remote(file_name=None, display_name="other"), False),
        (job(), remote(file_name=None, model="other"), False),
        (job(), remote(file_name=None, total=4), False),
        (job(), remote(file_name=None, total=0), True),
        (job(), remote(file_name=None, create_time=NOW - 1000), False),
        (job(), remote("batches/known", file_name=None), False),
        (job(), remote("", file_name=None), False),
        (job(), remote("", file_name="files/gb-x"), False),
        (job(input_kind="inline"), remote(model="m-001"), True),
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
    assert bool(made_by(ours, [there], known=frozenset({"batches/known"})).found) is found


def test_the_input_file_is_proof_and_the_rest_is_not() -> None:
    seen = [remote("batches/likely", file_name=None), remote("batches/proven", file_name="files/gb-x")]
    matches = made_by(job(), seen, known=frozenset())
    assert (matches.found, matches.proven) == (("batches/proven",), ("batches/proven",))


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
        ([CANCELLED, PLANNED], 0, "attach"),
        ([FAILED, CANCELLED, {"stage": JobStage.UPLOADED}], 0, "attach"),
        ([CANCELLED, {"stage": JobStage.INTENDED}], 0, "attach"),
        ([{**FAILED, "cancelled_at": NOW}, PLANNED], 0, "attach"),
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
    backoff = PollBackoff(100.0)
    pauses = [backoff.pause(100.0) for _ in range(10_000)]
    assert pauses[:3] == [1.0, 1.5, 2.25]
    assert pauses == sorted(pauses)
    assert max(pauses) == 60.0
    assert backoff.pause(3699.0) == 60.0
    assert backoff.pause(3700.0) == 300.0
    backoff.restart(5000.0)
    assert (backoff.waited(5001.0), backoff.pause(5001.0)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("begun", "due"),
    [
        ([], -math.inf),
        ([100.0], 400.0),
        ([100.0, 400.0], 700.0),
        ([100.0 + 300.0 * n for n in range(7)], 2200.0),
        ([100.0 + 300.0 * n for n in range(8)], math.inf),
    ],
)
def test_one_is_collected_at_a_time_and_another_only_after_a_while(begun: list[float], due: float) -> None:
    assert room_at(begun) == due
    assert PollBackoff(0.0, fixed=7.0).pause(9e9) == 7.0


def test_the_settings_choose_the_rhythm(tmp_path: Path) -> None:
    """The user's own number, also offline, where a job moves on only while it is asked for."""

    def first(**settings: Any) -> float:
        return PollBackoff.of(Settings(home=tmp_path, **settings), 0.0).pause(0.0)

    assert (first(), first(offline=True)) == (1.0, 0.25)
    assert (first(poll=5.0), first(poll=5.0, offline=True), first(poll=0.0)) == (5.0, 5.0, 0.0)


def operation(state: str, **fields: Any) -> Operation:
    """A job that has ended, as the service shows it: with an output file, with inline answers, or with neither."""
    output = {key: fields.pop(key) for key in ("responsesFile", "inlinedResponses") if key in fields}
    metadata = {"state": state, "batchStats": {"successfulRequestCount": str(fields.pop("succeeded", 0))}}
    whole = {"name": "batches/x", "done": True, "metadata": {**metadata, **({"output": output} if output else {})}}
    return msgspec.json.decode(msgspec.json.encode({**whole, **fields}), type=Operation)


FILE = {"responsesFile": "files/batch-x"}
EMPTY: dict[str, Any] = {"inlinedResponses": {"inlinedResponses": []}}
FULL: dict[str, Any] = {"inlinedResponses": {"inlinedResponses": [{"response": {}}]}}


@pytest.mark.parametrize(
    ("ended", "waited_for"),
    [
        (operation("BATCH_STATE_SUCCEEDED", **FILE), None),
        (operation("BATCH_STATE_SUCCEEDED", succeeded=2, **FULL), None),
        (operation("BATCH_STATE_SUCCEEDED"), LATE_SUCCEEDED),
        (operation("BATCH_STATE_SUCCEEDED", succeeded=2), LATE_SUCCEEDED),
        (operation("BATCH_STATE_SUCCEEDED", succeeded=2, **EMPTY), LATE_SUCCEEDED),
        (operation("BATCH_STATE_SUCCEEDED", **EMPTY), None),
        (operation("BATCH_STATE_EXPIRED"), None),
        (operation("BATCH_STATE_EXPIRED", succeeded=2), LATE_COUNTED),
        (operation("BATCH_STATE_EXPIRED", succeeded=2, **FILE), None),
        (operation("BATCH_STATE_CANCELLED", succeeded=2), LATE_COUNTED),
        (operation("BATCH_STATE_FAILED", succeeded=2), LATE_COUNTED),
        (operation("BATCH_STATE_FAILED"), None),
        (operation("BATCH_STATE_FAILED", error={"code": 13}), None),
        (operation("BATCH_STATE_SOMETHING_NEW"), LATE_UNSAID),
        (operation("BATCH_STATE_SOMETHING_NEW", error={"code": 13}), None),
        (operation("BATCH_STATE_SOMETHING_NEW", **FILE), None),
    ],
)
def test_for_how_long_output_is_waited_for(ended: Operation, waited_for: float | None) -> None:
    """The one policy: None where nothing is missing."""
    if waited_for is None:
        assert {output_of(ended, seconds) for seconds in (0.0, 9e9)} == {Output.COMPLETE}
        return
    assert output_of(ended, 0.0) is Output.LATE
    assert output_of(ended, waited_for - 1) is Output.LATE
    assert output_of(ended, waited_for) is Output.OVERDUE
