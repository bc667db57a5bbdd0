"""Creates that are refused, unanswered, answered with nonsense, or limited: one job, or none and a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.story import SUCCEEDED, Case, Step, asking, play

if TYPE_CHECKING:
    from scenarios.conftest import Stage

LIST = "batches.list"
DONE_MEANWHILE: dict[str, Any] = {
    "create": Step(says=("Checking whether the job was created anyway", "The job was created"))
}
#: Nothing was made, the upload is kept, and the next command needs no second one.
REFUSED: dict[str, Any] = {
    "stage": "uploaded",
    "state": None,
    "jobs": 0,
    "again": "make",
}
INLINE_REFUSED: dict[str, Any] = {**REFUSED, "stage": "planned", "options": ("--inline",)}


def create(**fields: Any) -> dict[str, Any]:
    return {"operation": "batches.create", **fields}


def worded(status: int, message: str, reason: str = "INVALID_ARGUMENT") -> dict[str, Any]:
    """A create that is refused in these words, always."""
    body = json.dumps({"error": {"code": status, "message": message, "status": reason}})
    return create(status=status, body=body, times=0)


CASES = [
    Case(scenario="C0", title="a create as it should be", create=Step(says=("Created requests-", "4 requests"))),
    Case(scenario="C0", title="inline", options=("--inline",)),
    Case(
        scenario="C1",
        title="over an unnamed limit",
        faults=("C1",),
        create=Step(code=4, says=("429", "No job was created", "other jobs have ended", "--limit")),
        **REFUSED,
    ),
    Case(
        scenario="C1",
        title="over an unnamed limit inline",
        faults=("C1",),
        create=Step(code=4, says=("No job was created",)),
        **INLINE_REFUSED,
    ),
    Case(
        scenario="C1",
        title="429 in the words of other calls",
        faults=(create(error="quota_sync", times=0),),
        create=Step(code=4, says=("429", "No job was created")),
        **REFUSED,
    ),
    Case(
        scenario="C1",
        title="429 though the job was made",
        faults=(create(error="quota", commit=True),),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C2",
        title="the store is full",
        faults=(create(error="storage", times=0),),
        create=Step(code=4, says=("file_storage_bytes", "No job was created", " clean ")),
        **REFUSED,
    ),
    Case(
        scenario="C4",
        title="lines that only the service refuses",
        faults=(worded(400, "Error on line 1: invalid JSON, near column 12: no such field: 'a'\nError on line 3: b"),),
        create=Step(code=2, says=("Error on line 1", "Error on line 3: b", "No job was created")),
        **REFUSED,
    ),
    Case(
        scenario="C5",
        title="a model that does not batch",
        faults=(create(status=404),),
        create=Step(code=2, says=("cannot run a batch with gemini-3-flash-preview", "--model")),
        **REFUSED,
    ),
    Case(
        scenario="C6",
        title="an unknown field inline",
        faults=(
            worded(
                400,
                'Invalid JSON payload received. Unknown name "thinkingConfig" at '
                "'batch.input_config.requests.requests[0].request.generation_config': Cannot find field.",
            ),
        ),
        create=Step(code=2, says=("thinkingConfig", "No job was created")),
        **INLINE_REFUSED,
    ),
    *(
        Case(scenario=name, title=title, faults=(name,), **DONE_MEANWHILE)
        for name, title in (("C8a", "made then reset"), ("C8b", "made then 504"), ("C8c", "made and never answered"))
    ),
    Case(scenario="C8a", title="made inline then reset", faults=("C8a",), options=("--inline",), **DONE_MEANWHILE),
    Case(scenario="C8a", title="made and 409", faults=(create(commit=True, error="aborted"),), **DONE_MEANWHILE),
    Case(scenario="C8a", title="made and 408", faults=(create(commit=True, error="timeout"),), **DONE_MEANWHILE),
    Case(
        scenario="C8a", title="made and 502 in HTML", faults=(create(commit=True, error="html_502"),), **DONE_MEANWHILE
    ),
    Case(scenario="C8a", title="made and the answer is cut", faults=(create(cut=40),), **DONE_MEANWHILE),
    Case(scenario="C8a", title="made and the answer is too short", faults=(create(length=-40),), **DONE_MEANWHILE),
    Case(
        scenario="C8a",
        title="made and the answer is HTML",
        faults=(create(body="<html>Welcome</html>"),),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and the answer is empty",
        faults=(create(body="{}"),),
        create=Step(says=("answered with no job", "The job was created")),
    ),
    Case(
        scenario="C8a",
        title="made and redirected",
        faults=(create(commit=True, status=302, body=""),),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and the list is late",
        faults=("C8a", {"operation": LIST, "listing": "omit", "times": 3}),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and the list fails for a while",
        faults=("C8a", {"operation": LIST, "error": "internal", "times": 3}, {"operation": LIST, "drop": "reset"}),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and listed twice",
        faults=("C8a", {"operation": LIST, "listing": "twice", "times": 0}),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and a page is empty",
        faults=("C8a", {"operation": LIST, "listing": "empty_page"}),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and the list goes in circles",
        faults=("C8a", {"operation": LIST, "listing": "same_next", "times": 0}),
        **DONE_MEANWHILE,
    ),
    Case(
        scenario="C8a",
        title="made and ended before it was found",
        faults=("C8a", "L7"),
        create=Step(says=("The job was created",)),
        status=Step(code=5),
        results=Step(code=5),
        verdicts=dict.fromkeys("abcd", "missing JOB_FAILED"),
        state="JOB_STATE_FAILED",
        again="another",
    ),
    Case(scenario="C8d", title="reset before it was made", faults=("C8d",), create=Step(says=("Checking whether",))),
    Case(scenario="C8d", title="reset before it was made inline", faults=("C8d",), options=("--inline",)),
    Case(scenario="C8d", title="silence before it was made", faults=(create(silence=9),)),
    Case(scenario="C8d", title="closed before it was made", faults=(create(drop="close"),)),
    Case(scenario="C8d", title="cut while it was sent", faults=(create(receive=10),)),
    Case(
        scenario="C8d",
        title="never made",
        faults=(create(drop="reset", times=0),),
        create=Step(code=4, says=("3 create calls got no usable answer", "Nothing is lost")),
        **REFUSED,
    ),
    Case(
        scenario="C9",
        title="500 then 502 then 503",
        faults=("C9",),
        create=Step(
            code=4, says=("500 INTERNAL", "502: Error 502 (Server Error)", "503 UNAVAILABLE", "Nothing is lost")
        ),
        **REFUSED,
    ),
    Case(scenario="C9", title="one 503", faults=(create(error="overloaded"),), create=Step(says=("Checking whether",))),
    Case(
        scenario="C10",
        title="too large inline",
        faults=(worded(400, "Request payload size exceeds the limit: 20971520 bytes."),),
        create=Step(code=2, says=("exceeds the limit", "No job was created")),
        **INLINE_REFUSED,
    ),
    Case(
        scenario="C11",
        title="no billing",
        faults=(create(error="billing", times=0),),
        create=Step(code=2, says=("Billing is not active",)),
        **REFUSED,
    ),
    Case(
        scenario="C11",
        title="not from here",
        faults=(create(error="location", times=0),),
        create=Step(code=2, says=("User location is not supported",)),
        **REFUSED,
    ),
    Case(
        scenario="C12",
        title="the key is refused",
        faults=(create(error="bad_key", times=0),),
        create=Step(code=2, says=("API key not valid", "GEMINI_API_KEY")),
        **REFUSED,
    ),
    Case(
        scenario="C12",
        title="the key is refused at once",
        faults=({"operation": "*", "error": "bad_key", "times": 0},),
        create=Step(code=2, says=("API key not valid", "GEMINI_API_KEY")),
        **{**REFUSED, "stage": "planned"},
    ),
    Case(
        scenario="C13",
        title="a cache that is gone",
        faults=(worded(403, "CachedContent not found (or permission denied)", "PERMISSION_DENIED"),),
        create=Step(code=2, says=("CachedContent not found",)),
        **REFUSED,
    ),
]


@pytest.mark.parametrize(
    "quota", [{"jobs": 1}, {"tokens": {"gemini-3-flash-preview": 12}}], ids=["C3b-jobs", "C3a-tokens"]
)
def test_room_comes_back(stage: Stage, quota: dict[str, Any]) -> None:
    """C3: refused while another job holds the room, and taken, without a second upload, once that has ended."""
    stage.service.limit(**quota)
    stage.service.pace(queue_delay=600.0)
    stage.shell.write("first.jsonl", *map(asking, "wxyz"))
    first = stage.run("create", "first.jsonl").out.strip()
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))

    refused = stage.run("create", "requests.jsonl")
    assert (refused.code, refused.out) == (4, "")
    assert "No job was created" in refused.err
    assert stage.made() == 1
    sent = stage.sent()
    assert stage.run("status", first, "--wait").out == f"{SUCCEEDED}\n"

    second = stage.run("create", "requests.jsonl")
    assert second.code == 0, second
    assert (stage.made(), stage.sent()) == (2, sent)
    assert stage.run("status", second.out.strip(), "--wait").out == f"{SUCCEEDED}\n"
    assert set(stage.paid().values()) == {1}


def test_room_comes_back_late(stage: Stage) -> None:
    """C3c: an ended job may hold its tokens for a while longer; asking again is free."""
    stage.service.limit(tokens={"gemini-3-flash-preview": 12}, release_after=900.0)
    stage.shell.write("first.jsonl", *map(asking, "wxyz"))
    stage.run("status", stage.run("create", "first.jsonl").out.strip(), "--wait")
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    assert stage.run("create", "requests.jsonl").code == 4

    stage.time.jump(1000)

    assert stage.run("create", "requests.jsonl").code == 0
    assert stage.made() == 2


def test_a_job_that_has_to_wait_for_room(stage: Stage) -> None:
    """C3b, as others report it: accepted, and PENDING until there is room."""
    stage.service.limit(jobs=1, when_full="wait")
    stage.service.pace(queue_delay=600.0)
    stage.shell.write("first.jsonl", *map(asking, "wxyz"))
    stage.run("create", "first.jsonl")
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    job = stage.run("create", "requests.jsonl").out.strip()

    assert stage.run("status", job, "--wait").out == f"{SUCCEEDED}\n"
    assert stage.made() == 2


GONE = {"operation": "batches.get", "error": "not_found"}


def refused_for_quota(stage: Stage) -> None:
    """A create that leaves its upload behind and no job."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    stage.arm(**create(error="quota", times=0))
    assert stage.run("create", "requests.jsonl").code == 4
    stage.service.faults.clear()


def test_the_uploaded_file_has_expired(stage: Stage) -> None:
    """U9: days lie between the upload and the create that goes through; the file is uploaded again, once."""
    refused_for_quota(stage)
    sent = stage.sent()
    stage.time.jump(3 * 86_400)

    done = stage.run("create", "requests.jsonl")

    assert done.code == 0, done
    assert "no longer has the input file" in done.err
    assert (stage.made(), stage.sent()) == (1, 2 * sent)
    assert stage.run("status", done.out.strip(), "--wait").out == f"{SUCCEEDED}\n"
    assert stage.run("results", done.out.strip(), "-o", "results.jsonl").code == 0
    assert stage.run("doctor").code == 0


def test_the_uploaded_file_has_expired_again_and_again(stage: Stage) -> None:
    """C7: whatever is uploaded, the service says that there is no such file: one more upload, then words."""
    refused_for_quota(stage)
    stage.time.jump(3 * 86_400)
    stage.arm(**create(error="no_file", times=0))

    done = stage.run("create", "requests.jsonl")

    assert done.code == 2
    assert "do not have permission to access the File" in done.err
    assert "the uploaded file is gone, or belongs to the project of another key" in done.err
    assert "models" not in done.err
    assert stage.made() == 0
    stage.service.faults.clear()
    assert stage.run("create", "requests.jsonl").code == 0
    assert stage.made() == 1


def test_a_file_that_is_there_is_not_uploaded_again(stage: Stage) -> None:
    """C11: other reasons for a 403 are said as they are."""
    refused_for_quota(stage)
    sent = stage.sent()
    stage.arm(**create(error="billing"))

    done = stage.run("create", "requests.jsonl")

    assert done.code == 2
    assert "Billing is not active" in done.err
    assert stage.sent() == sent


def test_the_job_is_found_behind_many_others(stage: Stage, short_pages: None) -> None:
    """P2: an unanswered create, a process that ends, other jobs meanwhile: all pages are read."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    stage.arm("C8a")
    stage.arm(operation=LIST, status=500, times=0)
    assert stage.run("create", "requests.jsonl").code == 4
    assert stage.jobs()[0].stage.value == "intended"
    stage.service.faults.clear()
    for number in range(7):
        stage.ask("POST", "models/gemini-3.8-flash:batchGenerateContent", {"batch": one_request(number)})

    done = stage.run("create", "requests.jsonl")

    assert done.code == 0
    assert "The job was created" in done.err
    assert stage.made() == 8
    assert set(stage.paid()) >= set("abcd")
    assert {stage.paid()[key] for key in "abcd"} == {1}


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("option", [(), ("--inline",)], ids=["file", "inline"])
def test_a_clock_that_is_hours_wrong(stage: Stage, hours: int, option: tuple[str, ...]) -> None:
    """C8a: the job is found all the same, by the file or by the name that only it has."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    stage.time.ahead += hours * 3600
    stage.arm("C8a")

    done = stage.run("create", "requests.jsonl", *option)

    assert done.code == 0
    assert "The job was created" in done.err
    assert stage.made() == 1


def one_request(number: int) -> dict[str, Any]:
    inline = {"request": asking("other")["request"], "metadata": {"key": f"other-{number}"}}
    return {"displayName": f"other {number}", "inputConfig": {"requests": {"requests": [inline]}}}


def test_the_open_window(stage: Stage) -> None:
    """P3: a list that hides the job for longer than the window: docs/ledger.md says that a second job is made then."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    stage.arm("C8a")
    stage.arm("P3")

    done = stage.run("create", "requests.jsonl")

    assert done.code == 0
    assert sum(stage.time.waits) >= 29.9
    assert stage.made() == 2


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_that_is_away_for_a_moment_is_not_made_again(stage: Stage, times: int) -> None:
    """L11: 404 for a active job, then it is back: the same create attaches."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    job = stage.run("create", "requests.jsonl").out
    stage.arm(**GONE, times=times)

    assert stage.run("create", "requests.jsonl").out == job
    assert stage.made() == 1


def test_a_job_that_is_gone_is_made_again_only_on_request(stage: Stage) -> None:
    """X5: 404 for good, since somebody deleted it: it may have been paid for, so nothing is sent unasked."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    stage.service.pace(queue_delay=3600)
    job = stage.run("create", "requests.jsonl").out.strip()
    stage.ask("DELETE", job)

    done = stage.run("create", "requests.jsonl")
    assert (done.code, done.out) == (2, "")
    assert f"status {job}" in done.err
    assert "--new" not in done.err
    assert stage.made() == 1

    assert stage.run("create", "requests.jsonl", "--new").code == 0
    assert stage.made() == 2


def test_the_service_is_away_when_the_job_is_known(stage: Stage) -> None:
    """The job's name is here already: it is printed, and nothing is sent."""
    stage.shell.write("requests.jsonl", *map(asking, "abcd"))
    job = stage.run("create", "requests.jsonl").out
    stage.arm(operation="*", drop="reset", times=0)

    done = stage.run("create", "requests.jsonl")

    assert (done.code, done.out) == (0, job)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_creating(case: Case, stage: Stage) -> None:
    play(case, stage)
