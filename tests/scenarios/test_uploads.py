"""Uploads that go wrong: refused, forgotten, cut, unanswered, full. The file arrives once, and one job is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scenarios.story import Case, Step, asking, play

if TYPE_CHECKING:
    from scenarios.conftest import Stage

CHUNK = "files.upload.chunk"
START = "files.upload.start"
MIME = '{"error":{"code":400,"message":"Unsupported MIME type: %s","status":"INVALID_ARGUMENT"}}'
TOO_LARGE = '{"error":{"code":400,"message":"The file is larger than 2147483648 bytes.","status":"INVALID_ARGUMENT"}}'


def refused_type(operation: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"operation": operation, "status": 400, "body": MIME % name, **fields}


#: Three chunks of the size that the client sends.
LARGE = tuple(
    {"key": f"k{n}", "request": {"contents": [{"parts": [{"text": f"Say k{n}"}, {"text": "x" * 1_000_000}]}]}}
    for n in range(17)
)

FAILS_FIRST: dict[str, Any] = {
    "results": None,
    "stage": "planned",
    "state": None,
    "jobs": 0,
    "extra": None,
    "again": "make",
}

CASES = [
    Case(scenario="U0", title="an upload as it should be"),
    Case(
        scenario="U1",
        title="the type is refused at the end",
        faults=("U1",),
        extra=None,
        create=Step(says=("Unsupported MIME type",)),
    ),
    Case(scenario="U1", title="the type is refused at the start", faults=(refused_type(START, "application/jsonl"),)),
    Case(
        scenario="U1",
        title="two types are refused",
        faults=(refused_type(START, "application/jsonl"), refused_type(START, "text/plain")),
    ),
    Case(
        scenario="U1",
        title="every type is refused at the start",
        faults=(refused_type(START, "jsonl", times=0),),
        create=Step(code=2, says=("Unsupported MIME type",)),
        **FAILS_FIRST,
    ),
    Case(
        scenario="U1",
        title="every type is refused at the end",
        faults=(refused_type(CHUNK, "jsonl", times=0, headers={"X-Goog-Upload-Status": "final"}),),
        create=Step(code=2, says=("Unsupported MIME type",)),
        **FAILS_FIRST,
    ),
    Case(scenario="U2", title="the last answer names no file", faults=("U2",)),
    Case(
        scenario="U2", title="the last answer is not JSON", faults=({"operation": CHUNK, "body": "<html>busy</html>"},)
    ),
    Case(scenario="U3", title="an empty 503 at the start", faults=("U3",)),
    Case(
        scenario="U3",
        title="an empty 503 for a chunk",
        faults=({"operation": CHUNK, "error": "upload_503"},),
        extra=None,
    ),
    Case(
        scenario="U3",
        title="503 without end",
        faults=({"operation": START, "error": "upload_503", "times": 0},),
        create=Step(code=4, says=("503", "no explanation", "few minutes")),
        **FAILS_FIRST,
    ),
    Case(scenario="U3", title="502 in HTML", faults=({"operation": START, "error": "html_502"},)),
    Case(scenario="U3", title="429 that says when", faults=({"operation": START, "error": "quota_sync"},)),
    Case(scenario="U3", title="silence at the start", faults=({"operation": START, "silence": 9},)),
    Case(
        scenario="U3",
        title="an answer without an address",
        faults=({"operation": START, "without_headers": ["X-Goog-Upload-URL"], "times": 0},),
        create=Step(code=4, says=("no upload session",)),
        **FAILS_FIRST,
    ),
    Case(scenario="U4", title="a chunk is stored and its status is lost", faults=("U4",)),
    Case(
        scenario="U4",
        title="502 for a chunk that is stored",
        faults=({"operation": CHUNK, "commit": True, "error": "html_502"},),
    ),
    Case(
        scenario="U4",
        title="the answer to the last chunk is lost",
        faults=({"operation": CHUNK, "commit": True, "drop": "reset"},),
    ),
    Case(
        scenario="U4", title="no answer to the last chunk", faults=({"operation": CHUNK, "commit": True, "silence": 9},)
    ),
    Case(
        scenario="U5",
        title="reset in the first chunk",
        faults=("U5",),
        lines=LARGE,
        extra=300_000 - 262_144,
        own_text=False,
    ),
    Case(
        scenario="U5",
        title="reset in the last chunk",
        faults=({"operation": CHUNK, "receive": 100_000, "skip": 2},),
        lines=LARGE,
        extra=100_000,
        own_text=False,
    ),
    Case(
        scenario="U5",
        title="reset after the last byte",
        faults=({"operation": CHUNK, "commit": True, "drop": "reset", "skip": 2},),
        lines=LARGE,
        own_text=False,
    ),
    Case(
        scenario="U6",
        title="larger than a file may be",
        faults=({"operation": START, "status": 400, "body": TOO_LARGE, "times": 0},),
        create=Step(code=2, says=("larger than 2147483648 bytes",)),
        **FAILS_FIRST,
    ),
    Case(scenario="U7", title="the file is still being processed", idle=1, faults=("U7",)),
    Case(
        scenario="U8",
        title="the store is full",
        faults=({"operation": START, "error": "storage", "times": 0},),
        create=Step(code=4, says=("file_storage_bytes", "deletes uploads")),
        **FAILS_FIRST,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_uploads(case: Case, stage: Stage) -> None:
    play(case, stage)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_the_upload_session_is_forgotten(stage: Stage, status: int) -> None:
    """An upload that broke off; later the service knows nothing of it: it starts again, and goes through."""
    stage.shell.write("requests.jsonl", *(asking(key) for key in "abcd"))
    stage.arm(operation=CHUNK, error="overloaded", times=0)
    assert stage.run("create", "requests.jsonl").code == 4
    assert stage.jobs()[0].upload_url is not None
    stage.service.faults.clear()
    stage.arm(operation="files.upload.query", status=status)

    done = stage.run("create", "requests.jsonl")

    assert done.code == 0, done
    assert "Restarting the upload" in done.err
    assert stage.made() == 1


@pytest.mark.parametrize("harm", [{"file.sha256Hash": "bm90IHRoaXM="}, {"file.sizeBytes": "1"}], ids=["hash", "size"])
@pytest.mark.parametrize("times", [1, 0])
def test_what_arrived_is_not_what_was_sent(stage: Stage, harm: dict[str, str], times: int) -> None:
    """A file that the service describes as another one is not made a job of."""
    stage.shell.write("requests.jsonl", *(asking(key) for key in "abcd"))
    stage.arm(operation=CHUNK, state="final", set=harm, times=times)

    done = stage.run("create", "requests.jsonl")

    assert done.code == (0 if times else 4), done
    assert "differs from the one sent" in done.err
    assert stage.made() == times
    if not times:
        assert "lost or damaged it each time" in done.err
