"""Cancelling: before, in the middle, too late, twice; and what the job has answered by then is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scenarios.story import CANCELLED, KEYS, SUCCEEDED, asking

if TYPE_CHECKING:
    from scenarios.conftest import Stage

HOUR = 3600.0


def begun(stage: Stage, *options: str, **pace: float) -> str:
    """A job of four requests."""
    stage.service.pace(**pace)
    stage.shell.write("requests.jsonl", *map(asking, KEYS))
    return stage.run("create", "requests.jsonl", *options).out.strip()


def verdicts(stage: Stage, job: str) -> list[str]:
    """What became of each request, by the results file."""
    stage.run("results", job, "-o", "results.jsonl")
    return [f"{line['verdict']} {line['error']['reason'] if 'error' in line else ''}".strip() for line in stage.read()]


@pytest.mark.parametrize("inline", [False, True])
def test_before_it_has_started(stage: Stage, inline: bool) -> None:
    """X1: CANCELLED, nothing paid, nothing there; the same create names that job, and only --new makes another."""
    job = begun(stage, *(["--inline"] if inline else []), queue_delay=HOUR)

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{CANCELLED}\n")
    assert "0 of 4 requests were answered" in done.err
    assert stage.run("status", job).code == 5
    assert verdicts(stage, job) == ["missing JOB_CANCELLED"] * 4
    assert stage.paid() == {}
    again = stage.run("create", "requests.jsonl", *(["--inline"] if inline else []))
    assert (again.code, again.out.strip()) == (0, job)
    assert "--new" in again.err
    assert stage.run("create", "requests.jsonl", "--new", *(["--inline"] if inline else [])).out.strip() != job


def test_in_the_middle(stage: Stage) -> None:
    """X1: a running job ends SUCCEEDED; rows that were not served say CANCELLED."""
    job = begun(stage, rows_per_second=0.001)
    stage.run("status", job)
    stage.time.jump(2500)

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{SUCCEEDED}\n")
    assert "2 of 4 requests were answered" in done.err
    assert verdicts(stage, job) == ["succeeded", "succeeded", "failed CANCELLED", "failed CANCELLED"]
    assert stage.paid() == {"a": 1, "b": 1}


def test_too_late(stage: Stage) -> None:
    """X2: asked, and it succeeded all the same: everything is kept."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm("X2")

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{SUCCEEDED}\n")
    assert verdicts(stage, job) == ["succeeded"] * 4


def test_with_a_partial_output(stage: Stage) -> None:
    """X3: CANCELLED, with a row that can be had."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm("X3")

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{CANCELLED}\n")
    assert "1 of 4 requests were answered" in done.err
    assert verdicts(stage, job) == ["succeeded", *["missing JOB_CANCELLED"] * 3]
    again = stage.run("create", "requests.jsonl")
    assert again.out.strip() == job
    assert "--new" in again.err


@pytest.mark.parametrize("inline", [False, True])
def test_finished_after_all(stage: Stage, inline: bool) -> None:
    """X6: CANCELLED and nothing there; an hour later the answers are. A retry takes them and pays for nothing again."""
    job = begun(stage, *(["--inline"] if inline else []), queue_delay=60.0)
    stage.arm("X6")
    assert stage.run("cancel", job).out == f"{CANCELLED}\n"
    assert verdicts(stage, job) == ["missing JOB_CANCELLED"] * 4
    stage.time.jump(HOUR)

    done = stage.run("retry", job, "--only", "missing", "-o", "results.jsonl")

    assert "more answers than when it was cancelled" in done.err
    assert verdicts(stage, job) == ["succeeded"] * 4
    assert stage.paid() == dict.fromkeys(KEYS, 1)
    assert stage.made() == 1


@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize("inline", [False, True])
def test_cancelled_elsewhere_and_finished_after_all(stage: Stage, inline: bool, polled: bool) -> None:
    """X6: what was not collected before has its answers at the first results."""
    job = begun(stage, *(["--inline"] if inline else []), queue_delay=60.0)
    stage.arm("X6")
    stage.ask("POST", f"{job}:cancel", {})
    if polled:
        assert stage.run("status", job).out == f"{CANCELLED}\n"
    stage.time.jump(HOUR)

    assert verdicts(stage, job) == ["succeeded"] * 4
    assert stage.paid() == dict.fromkeys(KEYS, 1)


@pytest.mark.parametrize("known", [False, True])
def test_what_has_ended(stage: Stage, known: bool) -> None:
    """X4: it had ended before, whether or not that was known here: no error, and the answers are kept."""
    job = begun(stage)
    stage.arm("X4")
    if known:
        stage.run("status", job, "--wait")

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{SUCCEEDED}\n")
    assert "nothing to cancel" in done.err
    assert verdicts(stage, job) == ["succeeded"] * 4


def test_what_ends_in_this_very_moment(stage: Stage) -> None:
    """X4: alive at the look, refused at the cancel."""
    job = begun(stage, queue_delay=1.0)
    stage.arm(operation="batches.cancel", error="ended")

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (0, f"{SUCCEEDED}\n")
    assert stage.made() == 1


def test_twice(stage: Stage) -> None:
    """The second time there is nothing to ask for."""
    job = begun(stage, queue_delay=HOUR)
    assert stage.run("cancel", job).out == f"{CANCELLED}\n"

    again = stage.run("cancel", job)

    assert (again.code, again.out) == (0, f"{CANCELLED}\n")
    assert "nothing to cancel" in again.err


def test_without_waiting(stage: Stage) -> None:
    """Only asked; the job may live on for a while, and a look finds its end."""
    job = begun(stage, queue_delay=HOUR)

    done = stage.run("cancel", job, "--no-wait")

    assert (done.code, done.out) == (0, "JOB_STATE_PENDING\n")
    assert f"status {job} --wait" in done.err
    assert stage.run("status", job, "--wait").out == f"{CANCELLED}\n"


@pytest.mark.parametrize("fault", [{"error": "internal"}, {"drop": "reset"}, {"error": "html_502"}, {"silence": 9}])
def test_the_cancel_is_not_heard_at_once(stage: Stage, fault: dict[str, object]) -> None:
    """Asking to cancel is harmless to repeat."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm(operation="batches.cancel", times=2, **fault)

    assert stage.run("cancel", job).out == f"{CANCELLED}\n"


def test_the_cancel_is_never_heard(stage: Stage) -> None:
    """4, and the job lives; the user's word is kept, so that nothing of the job is ever resent by itself."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm(operation="batches.cancel", error="overloaded", times=0)

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (4, "")
    assert stage.jobs()[0].cancelled_at is not None
    assert stage.run("status", job).out == "JOB_STATE_PENDING\n"


def test_nothing_but_the_users_word_cancels(stage: Stage) -> None:
    """Whatever else is done and however it ends, no job is asked to stop, and nothing of others is deleted."""
    stage.arm(operation="batches.cancel|batches.delete|files.delete", status=500, times=0)
    job = begun(stage, queue_delay=HOUR)
    stage.arm(operation="batches.get", error="internal", times=20)
    for words in (
        ("status", job),
        ("results", job),
        ("status", job, "--wait"),
        ("list", "--refresh"),
        ("doctor",),
        ("create", "requests.jsonl"),
    ):
        stage.run(*words)

    assert stage.service.faults.armed()[0]["seen"] == 0


def test_a_deleted_job_goes_on(stage: Stage) -> None:
    """X5: gone for us, and it costs; cancel says that it cannot be seen."""
    job = begun(stage, queue_delay=60.0)
    stage.arm("X5")
    stage.ask("DELETE", job)

    done = stage.run("cancel", job)

    assert (done.code, done.out) == (2, "")
    assert "it was deleted, or the service does not show it" in done.err
    stage.time.jump(HOUR)
    stage.run("list", "--remote")
    assert stage.paid() == dict.fromkeys(KEYS, 1)
