"""Jobs of the same project that another program made: their requests are not known here, their answers are fetched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cli.conftest import KEY
from gemini_batch import NetworkError
from gemini_batch.engine import collector
from scenarios.story import asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenarios.conftest import Stage


def elsewhere(stage: Stage, keys: str = "abcd") -> str:
    """A job of the same project that another program has made, inline."""
    items = [{"request": asking(key)["request"], "metadata": {"key": key}} for key in keys]
    batch = {"displayName": "made elsewhere", "inputConfig": {"requests": {"requests": items}}}
    name: str = stage.ask("POST", "models/gemini-3.8-flash:batchGenerateContent", {"batch": batch})["name"]
    return name


def elsewhere_in_openais_shape(stage: Stage, keys: str = "abcd") -> str:
    """The same, made by a client of OpenAI's: from a file, whose output has OpenAI's shape."""
    rows = [
        {
            "custom_id": key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gemini-3.8-flash", "messages": [{"role": "user", "content": f"Say {key}"}]},
        }
        for key in keys
    ]
    data = b"\n".join(json.dumps(row).encode() for row in rows)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "x-goog-api-key": KEY}
    started = httpx2.post(f"{stage.service.url}/upload/v1beta/files", headers=start, json={"file": {}})
    send = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
    file = httpx2.post(started.headers["X-Goog-Upload-URL"], headers=send, content=data).json()["file"]["name"]
    made = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    url, key = f"{stage.service.url}/v1beta/openai/batches", {"authorization": f"Bearer {KEY}"}
    name: str = httpx2.post(url, headers=key, json=made).json()["id"]
    return name


@pytest.mark.parametrize("made", [elsewhere, elsewhere_in_openais_shape])
@pytest.mark.parametrize(
    ("faults", "code", "keys", "says"),
    [
        ((), 0, "abcd", "4 requests: 4 succeeded"),
        (({"output": "reverse"},), 0, "dcba", "4 succeeded"),
        (("R2",), 0, "abcd", "4 succeeded"),
        (("R3",), 1, "bcd", "1 more request without a line"),
        (("R4",), 1, "bcd", "1 answer line that belongs to no request (NO_KEY)"),
        (("G1",), 1, "abcd", "1 blocked"),
        (({"job": "EXPIRED", "rows": 2, "keep": True},), 1, "ab", "2 more requests without a line"),
    ],
    ids=["good", "R1", "R2", "R3", "R4", "G1", "L4"],
)
def test_a_job_made_elsewhere(
    stage: Stage,
    made: Callable[[Stage], str],
    faults: tuple[Any, ...],
    code: int,
    keys: str,
    says: str,
) -> None:
    """Its requests are not known here: what it answered is fetched, and what is absent is counted."""
    for fault in faults:
        stage.arm(fault) if isinstance(fault, str) else stage.arm(**fault)
    job = made(stage)
    stage.run("status", job, "--wait")

    done = stage.run("results", job, "-o", "results.jsonl")

    assert done.code == code, done
    assert says in done.err
    assert [line["key"] for line in stage.read()] == list(keys)
    assert all(f"Say {line['key']}”" in line["response"]["text"] for line in stage.read() if "error" not in line)
    assert stage.made() == 1


@pytest.mark.parametrize("fault", ["L3", "L7", "L8"])
def test_a_job_made_elsewhere_that_left_nothing(stage: Stage, fault: str) -> None:
    """5, and no file: nobody here knows its keys."""
    stage.arm(fault)
    job = elsewhere(stage)

    done = stage.run("results", job, "-o", "results.jsonl")

    assert (done.code, done.out) == (5, "")
    assert "left no results" in done.err
    assert not (stage.shell.folder / "results.jsonl").exists()


def test_its_rows_are_shown_once_they_are_held(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown here: 2. Known, and nothing of it held: 6. Then its answers, without prompts."""
    job = elsewhere(stage)
    stage.run("status", job, "--wait")
    unknown = stage.run("show", job, "--json")
    with monkeypatch.context() as patched:

        async def broken(*_: Any, **__: Any) -> None:
            raise NetworkError("The connection broke.", sent=True)

        patched.setattr(collector, "gather", broken)
        assert stage.run("results", job).code == 4
    held_not_yet = stage.run("show", job, "--json")
    assert stage.run("results", job, "-o", "results.jsonl").code == 0
    asked = stage.service.accounting()["totals"]

    shown = stage.run("show", job)
    *rows, _ = map(json.loads, stage.run("show", job, "--json").out.splitlines())

    assert (unknown.code, unknown.document["error"]["code"]) == (2, "unknown_job")
    assert (held_not_yet.code, held_not_yet.document["error"]["code"]) == (6, "not_finished")
    assert f"adopt {job}" in held_not_yet.document["error"]["next"]
    assert shown.out.count("prompt\n  (unknown: the job was created elsewhere)\nanswer\n  ") == 4
    assert [(row["key"], row["prompt"], row["place"]) for row in rows] == [(key, None, "answered") for key in "abcd"]
    assert stage.service.accounting()["totals"] == asked
