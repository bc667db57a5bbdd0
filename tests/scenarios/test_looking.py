"""A job's life as it is seen: slow, stuck, failed, unknown words, flapping answers. Waiting ends with the job only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scenarios.story import EXPIRED, FAILED, SUCCEEDED, Case, Step, asking, play

if TYPE_CHECKING:
    from scenarios.conftest import Stage

GET = "batches.get"
EMPTY: dict[str, object] = {"inlinedResponses": {}}
HOUR = 3600.0


def get(**fields: Any) -> dict[str, Any]:
    return {"operation": GET, **fields}


def ended_badly(state: str, word: str, *says: str, **more: Any) -> dict[str, Any]:
    """A job that leaves nothing: 5 from both commands, all rows missing, and the same create makes another."""
    return {
        "status": Step(code=5, out=f"{state}\n", says=says),
        "results": Step(code=5, says=(f"4 missing: {word}", "cost: unknown")),
        "verdicts": dict.fromkeys("abcd", f"missing {word}"),
        "state": state,
        "again": "another",
        **more,
    }


def ended_with_two(state: str, word: str, **more: Any) -> dict[str, Any]:
    """A job that was not finished and left two answers: they are kept, and the same create makes no other job."""
    return {
        "status": Step(code=5, out=f"{state}\n", says=(" results batches/",)),
        "results": Step(
            code=1, says=("2 succeeded, 2 missing", f"2 missing: {word} (keys: c, d)", "possibly have been paid")
        ),
        "verdicts": dict.fromkeys("cd", f"missing {word}"),
        "state": state,
        **more,
    }


SLOW = {"queue_delay": 7200.0, "rows_per_second": 0.001}

CASES = [
    Case(scenario="L1", title="at once"),
    Case(
        scenario="L1",
        title="hours of waiting and running",
        pace=SLOW,
        status=Step(out=f"{SUCCEEDED}\n", says=("JOB_STATE_PENDING: 0 of 4 done",)),
    ),
    Case(
        scenario="L2",
        title="stuck until it expires",
        faults=("L2",),
        **ended_badly(EXPIRED, "JOB_EXPIRED", "ended after 2 d", "did not finish within 48 hours"),
    ),
    Case(
        scenario="L3",
        title="expired with nothing",
        faults=("L3",),
        **ended_badly(EXPIRED, "JOB_EXPIRED", "did not finish within 48 hours"),
    ),
    Case(
        scenario="L4",
        title="expired with half of it",
        faults=({"job": "EXPIRED", "rows": 2, "keep": True},),
        **ended_with_two(EXPIRED, "JOB_EXPIRED"),
    ),
    Case(
        scenario="L4",
        title="expired with half of it unseen",
        faults=({"job": "EXPIRED", "rows": 2},),
        status=Step(code=5, out=f"{EXPIRED}\n", says=("2 of 4 done",)),
        results=Step(code=6, says=("polling again", "results are not available yet; the service counts 2 answers")),
        state=EXPIRED,
        stage="ended",
    ),
    Case(
        scenario="L5",
        title="unknown states at the end",
        idle=1,
        faults=("L5",),
        status=Step(),
        state="JOB_STATE_QUEUED",
    ),
    Case(
        scenario="L5",
        title="unknown states while it lives",
        pace={"queue_delay": 60.0},
        faults=(
            get(set={"metadata.state": "BATCH_STATE_SOMETHING_NEW"}, times=3),
            get(remove=["metadata.state"], skip=3, times=2),
        ),
        status=Step(out=f"{SUCCEEDED}\n", says=("JOB_STATE_SOMETHING_NEW: 0 of 4", "JOB_STATE_UNSPECIFIED: 0 of 4")),
    ),
    Case(
        scenario="L5",
        title="the states of the documentation",
        faults=(get(set={"metadata.state": "JOB_STATE_SUCCEEDED"}, times=0, state="SUCCEEDED"),),
    ),
    Case(
        scenario="L5",
        title="partly succeeded",
        faults=(get(set={"metadata.state": "JOB_STATE_PARTIALLY_SUCCEEDED"}, times=0),),
        status=Step(),
        state="JOB_STATE_PARTIALLY_SUCCEEDED",
    ),
    Case(
        scenario="L5",
        title="no counts and no times",
        faults=(
            get(
                remove=[
                    "metadata.batchStats",
                    "metadata.createTime",
                    "metadata.endTime",
                    "metadata.updateTime",
                    "metadata.displayName",
                    "metadata.model",
                ],
                times=0,
            ),
        ),
    ),
    Case(scenario="L6", title="the output comes later", faults=("L6",)),
    Case(
        scenario="L6",
        title="the output comes later than results wait",
        faults=(get(state="SUCCEEDED", times=8, skip=1, remove=["metadata.output", "response"]),),
        results=Step(
            code=6,
            says=(
                "polling again",
                "succeeded, but its results are not available yet; the service counts 4 answers",
                "Run the same command again later",
            ),
        ),
        stage="ended",
    ),
    Case(
        scenario="L6",
        title="inline answers come later",
        options=("--inline",),
        faults=(get(state="SUCCEEDED", skip=1, times=3, set={"metadata.output": EMPTY, "response": EMPTY}),),
        results=Step(says=("polling again",)),
    ),
    Case(
        scenario="L6",
        title="a wait for inline answers that come later",
        options=("--inline",),
        faults=(get(state="SUCCEEDED", times=6, set={"metadata.output": EMPTY, "response": EMPTY}),),
    ),
    Case(
        scenario="L6",
        title="an end that says nothing at first",
        faults=(get(state="SUCCEEDED", skip=1, times=2, remove=["metadata", "response"]),),
        results=Step(says=("polling again",)),
    ),
    Case(
        scenario="L4",
        title="the partial output comes later",
        faults=(
            {"job": "EXPIRED", "rows": 2, "keep": True},
            get(state="EXPIRED", skip=1, times=3, remove=["metadata.output", "response"]),
        ),
        status=Step(code=5, out=f"{EXPIRED}\n"),
        results=Step(code=1, says=("polling again", "2 succeeded, 2 missing")),
        verdicts=dict.fromkeys("cd", "missing JOB_EXPIRED"),
        state=EXPIRED,
    ),
    Case(
        scenario="L4",
        title="a wait for the partial output that comes later",
        faults=(
            {"job": "EXPIRED", "rows": 2, "keep": True},
            get(state="EXPIRED", times=6, remove=["metadata.output", "response"]),
        ),
        status=Step(code=5, out=f"{EXPIRED}\n"),
        results=Step(code=1, says=("2 succeeded, 2 missing",)),
        verdicts=dict.fromkeys("cd", "missing JOB_EXPIRED"),
        state=EXPIRED,
    ),
    Case(
        scenario="L7",
        title="failed with a reason",
        faults=("L7",),
        **ended_badly(FAILED, "JOB_FAILED", "code 13", "An internal error has occurred", "usually succeed"),
    ),
    Case(
        scenario="L7",
        title="failed for its input",
        faults=({"job": "FAILED", "rows": 0, "code": 3, "message": "Bad media."},),
        **ended_badly(FAILED, "JOB_FAILED", "Bad media.", "could not use the input"),
    ),
    Case(
        scenario="L7",
        title="failed with half of it",
        faults=({"job": "FAILED", "rows": 2, "keep": True, "code": 13, "message": "Oh."},),
        **ended_with_two(FAILED, "JOB_FAILED"),
    ),
    Case(
        scenario="L8",
        title="failed without a reason",
        faults=("L8",),
        **ended_badly(FAILED, "JOB_FAILED", "gave no reason"),
    ),
    Case(scenario="L9", title="output under response only", faults=("L9",)),
    Case(scenario="L9", title="inline output under response only", faults=("L9",), options=("--inline",)),
    Case(scenario="L10", title="output under metadata only", faults=("L10",)),
    Case(scenario="L10", title="inline output under metadata only", faults=("L10",), options=("--inline",)),
    Case(
        scenario="L9",
        title="no metadata at the end",
        faults=(get(remove=["metadata"], state="SUCCEEDED", times=0),),
        status=Step(),
        state="JOB_STATE_UNSPECIFIED",
    ),
    Case(
        scenario="L5",
        title="no metadata while it lives",
        pace={"queue_delay": 60.0},
        faults=(get(remove=["metadata"], times=3),),
        status=Step(out=f"{SUCCEEDED}\n", says=("JOB_STATE_UNSPECIFIED",)),
    ),
    Case(
        scenario="L5",
        title="fields of other kinds for a while",
        pace={"queue_delay": 60.0},
        faults=(get(set={"metadata.state": 7}), get(set={"metadata.batchStats": "many"}), get(set={"metadata": []})),
        status=Step(out=f"{SUCCEEDED}\n", says=("JOB_STATE_UNSPECIFIED",)),
    ),
    Case(
        scenario="L11",
        title="every failure once",
        faults=("L11",),
        status=Step(out=f"{SUCCEEDED}\n", says=("Still waiting",)),
    ),
    Case(
        scenario="L11",
        title="an hour of 503",
        faults=({"operation": "batches.*", "error": "overloaded", "skip": 1, "times": 100},),
        status=Step(out=f"{SUCCEEDED}\n", says=("503", "Still waiting")),
    ),
    Case(scenario="L11", title="only the list answers", faults=(get(error="deadline", times=7),)),
    Case(
        scenario="L11",
        title="502 in HTML",
        faults=({"operation": "batches.*", "error": "html_502", "skip": 1, "times": 20},),
        status=Step(out=f"{SUCCEEDED}\n", says=("502", "Still waiting")),
    ),
    Case(scenario="L11", title="429 that says when", faults=(get(error="quota_sync", times=9),)),
    Case(
        scenario="L11",
        title="resets",
        faults=({"operation": "batches.*", "drop": "reset", "skip": 1, "times": 20},),
        status=Step(out=f"{SUCCEEDED}\n", says=("The connection broke", "Still waiting")),
    ),
    Case(scenario="L11", title="silence", faults=(get(silence=9),)),
    Case(scenario="L11", title="a slow drip", faults=(get(drip=2000.0, times=2),)),
    Case(scenario="L11", title="answers cut off", faults=(get(cut=200, times=9),)),
    Case(
        scenario="L11",
        title="answers shorter than they are",
        faults=(get(length=-100, times=2),),
        status=Step(out=f"{SUCCEEDED}\n", says=("could not be read", "Still waiting")),
    ),
    Case(
        scenario="L11",
        title="a page of a gateway",
        faults=(get(body="<html>Sign in</html>", times=2),),
        status=Step(out=f"{SUCCEEDED}\n", says=("could not be read", "Still waiting")),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_looking(case: Case, stage: Stage) -> None:
    play(case, stage)


def begun(stage: Stage, *options: str, **pace: float) -> str:
    """A job of four requests."""
    stage.service.pace(**pace)
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    done = stage.run("create", "requests.jsonl", *options)
    assert done.code == 0, done
    return done.out.strip()


def test_one_look_at_a_state_that_nobody_knows(stage: Stage) -> None:
    """L5: alive, said, and no success."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm(**get(set={"metadata.state": "BATCH_STATE_SOMETHING_NEW"}, times=0))

    done = stage.run("status", job, "--exit-code")

    assert (done.code, done.out) == (6, "JOB_STATE_SOMETHING_NEW\n")
    assert "not known here" in done.err
    assert stage.run("results", job).code == 6


def test_waiting_gives_up_after_an_hour_without_one_answer(stage: Stage) -> None:
    """L11: 4, the job untouched, and the same command later goes on."""
    job = begun(stage)
    stage.arm(operation="batches.*", error="overloaded", times=0)

    done = stage.run("status", job, "--wait")

    assert (done.code, done.out) == (4, "")
    assert stage.time.ahead >= HOUR
    assert "few minutes" in done.err
    stage.service.faults.clear()
    assert stage.run("status", job, "--wait").out == f"{SUCCEEDED}\n"


@pytest.mark.parametrize("command", ["status", "results", "cancel"])
def test_the_service_is_away(stage: Stage, command: str) -> None:
    """One look, and what to do; nothing is written over what was known."""
    job = begun(stage)
    before = stage.jobs()
    stage.arm(operation="*", drop="reset", times=0)

    done = stage.run(command, job)

    assert (done.code, done.out) == (4, "")
    assert "connection broke" in done.err
    assert stage.jobs() == before


def test_an_answer_that_is_none(stage: Stage) -> None:
    """A page of a gateway instead of a job: 4, and what to do."""
    job = begun(stage)
    stage.arm(**get(body="<html>Sign in</html>", times=0))

    for command in ("status", "results"):
        done = stage.run(command, job)
        assert (done.code, done.out) == (4, "")
        assert "could not be read" in done.err
        assert "GOOGLE_GEMINI_BASE_URL" in done.err


def test_results_before_the_end(stage: Stage) -> None:
    """L1: 6, and what to type; no file."""
    job = begun(stage, queue_delay=HOUR)

    done = stage.run("results", job, "-o", "results.jsonl")

    assert (done.code, done.out) == (6, "")
    assert f"status {job} --wait" in done.err
    assert not (stage.shell.folder / "results.jsonl").exists()


def test_the_key_is_refused_while_waiting(stage: Stage) -> None:
    """C12: waiting on would not help."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm(**get(error="bad_key", skip=2, times=0))

    done = stage.run("status", job, "--wait")

    assert (done.code, done.out) == (2, "")
    assert "GEMINI_API_KEY" in done.err


def test_another_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """K1: said as what it is, for status, results and cancel; the ledger keeps the job, and nothing is sent again."""
    job = begun(stage)
    before = stage.jobs()
    monkeypatch.setenv("GEMINI_API_KEY", "another-key")

    for words in (("status",), ("status", "--wait"), ("results",), ("cancel",)):
        done = stage.run(words[0], job, *words[1:])
        assert (done.code, done.out) == (2, ""), words
        assert "created with another API key" in done.err
        assert "not mean that the job is gone" in done.err
    assert stage.jobs() == before
    assert stage.run("list", "--refresh").code == 0
    doctor = stage.run("doctor")
    assert doctor.code == 0
    assert "another" in doctor.out
    for verb in ("create", "run"):
        refused = stage.run(verb, "requests.jsonl")
        assert (refused.code, refused.out) == (2, ""), verb
        assert "Nothing was sent." in refused.err
    assert stage.made() == 1
    anew = stage.run("create", "requests.jsonl", "--new")
    assert anew.code == 0, anew.err
    assert anew.out.strip() != job
    assert stage.made() == 2


def test_a_job_that_nobody_knows(stage: Stage) -> None:
    """404 from the first look: no waiting."""
    begun(stage)

    for words in (("status",), ("status", "--wait"), ("results",), ("cancel",)):
        done = stage.run(words[0], "batches/nobody-knows-it", *words[1:])
        assert (done.code, done.out) == (2, "")
        assert "does not know batches/nobody-knows-it" in done.err
    assert stage.time.waits == []


def test_a_job_that_was_deleted(stage: Stage) -> None:
    """X5: looked for three times while waiting; then said, with exit 4, and nothing is concluded in the ledger."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm("X5")
    stage.ask("DELETE", job)

    done = stage.run("status", job, "--wait")

    assert (done.code, done.out) == (2, "")
    assert "it was deleted, or the service does not show it" in done.err
    assert stage.jobs()[0].stage.value == "created"


# Lists ---------------------------------------------------------------------------------------------------------------


def test_an_empty_list(stage: Stage) -> None:
    """P1: no jobs, and no error."""
    done = stage.run("list", "--remote")
    assert (done.code, done.out) == (0, "")
    assert "No jobs" in done.err
    assert stage.run("doctor").code == 0


@pytest.mark.parametrize("fault", ["", "P2", "P4", "same_next", "empty_page"])
def test_a_list_of_many_pages(stage: Stage, fault: str, short_pages: None) -> None:
    """P2: every job once, whatever the pages do; a list that goes in circles ends."""
    ours = begun(stage)
    inline = {"request": asking("x")["request"], "metadata": {"key": "x"}}
    others = {
        stage.ask(
            "POST",
            "models/gemini-3.8-flash:batchGenerateContent",
            {"batch": {"displayName": f"other {number}", "inputConfig": {"requests": {"requests": [inline]}}}},
        )["name"]
        for number in range(7)
    }
    if fault.startswith("P"):
        stage.arm(fault)
    elif fault == "same_next":
        stage.arm(operation="batches.list", listing=fault, skip=1, times=0)
    elif fault:
        stage.arm(operation="batches.list", listing=fault)

    done = stage.run("list", "--remote")

    assert done.code == 0
    names = [line.split()[0] for line in done.out.splitlines()]
    assert len(names) == len(set(names))
    if fault != "same_next":
        assert set(names) == {ours, *others}


def test_lists_that_leave_out_and_fail(stage: Stage) -> None:
    """P3: nothing is concluded from an absence; a list that fails is said."""
    job = begun(stage)
    stage.arm("P3")
    assert stage.run("list", "--remote").out.startswith(job)
    assert stage.run("list", "--refresh").out.startswith(f"{job}  {SUCCEEDED}")
    assert stage.run("doctor").code == 0
    stage.service.faults.clear()
    stage.arm(operation="batches.list", error="internal", times=0)

    failed = stage.run("list", "--remote")

    assert (failed.code, failed.out) == (4, "")
    assert "500" in failed.err
    asked = stage.run("doctor")
    assert asked.code == 0
    assert "could not be checked" in asked.out


def test_a_refreshed_list_outlives_a_job_that_cannot_be_seen(stage: Stage) -> None:
    """L11: the others are shown as they are, this one as last seen."""
    job = begun(stage, queue_delay=HOUR)
    stage.arm(operation="batches.*", error="internal", times=0)

    done = stage.run("list", "--refresh")

    assert done.code == 0
    assert done.out.startswith(f"{job}  JOB_STATE_PENDING")
    assert "500" in done.err
