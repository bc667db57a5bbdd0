"""``results --raw``: the service's own lines, of the requests that have an answer, in the order of the input."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import request
from gemini_batch import GeminiBatch

types: Any = pytest.importorskip("google.genai.types")

if TYPE_CHECKING:
    from cli.conftest import Shell
    from gemini_batch.testing import GeminiEmulator

SHORT = {"generationConfig": {"maxOutputTokens": 8}}


def create(shell: Shell, *more: str) -> str:
    name = shell.run("create", "in.jsonl", "--offline", *more).out.strip()
    assert shell.run("status", name, "--wait").code == 0
    return name


def stored(shell: Shell) -> list[bytes]:
    """All lines as they came from the service."""
    files = sorted((shell.home / "offline" / "runs").glob("run-*/raw/*.jsonl"))
    return [line for file in files for line in file.read_bytes().split(b"\n") if line]


@pytest.mark.parametrize("way", [(), ("--inline",)], ids=["a file", "inline"])
def test_the_lines_are_those_of_the_service(shell: Shell, way: tuple[str, ...]) -> None:
    shell.write("in.jsonl", *(request(key) for key in "cab"), request("short", **SHORT))
    name = create(shell, *way)

    done = shell.run("results", name, "--raw", "-o", "raw.jsonl")

    lines = (shell.folder / "raw.jsonl").read_bytes().split(b"\n")
    assert done.code == 1
    assert lines.pop() == b""
    assert sorted(lines) == sorted(stored(shell))
    keys = [line.get("key") or line["metadata"]["key"] for line in map(json.loads, lines)]
    assert keys == ["c", "a", "b", "short"]


def test_readers_of_the_sdk_take_them(shell: Shell) -> None:
    """Its types refuse fields that they do not know: `text` in a response, `reason` in an error."""
    shell.write("in.jsonl", *(request(key) for key in "ab"), request("short", **SHORT))
    name = create(shell)

    ours = [json.loads(line) for line in shell.run("results", name, "-o", "-").out.splitlines()]
    raw = [json.loads(line) for line in shell.run("results", name, "--raw", "-o", "-").out.splitlines()]

    read = [types.GenerateContentResponse.model_validate(line["response"]) for line in raw]
    assert [one.text for one in read] == [line["response"]["text"] for line in ours]
    with pytest.raises(ValueError, match="text"):
        types.GenerateContentResponse.model_validate(ours[0]["response"])


def test_inline_lines_are_responses_of_the_sdk(shell: Shell) -> None:
    shell.write("in.jsonl", *(request(key) for key in "ab"))
    name = create(shell, "--inline")

    for line in shell.run("results", name, "--raw", "-o", "-").out.splitlines():
        read = types.InlinedResponse.model_validate(json.loads(line))
        assert read.metadata in ({"key": "a"}, {"key": "b"})


# A service with faults ------------------------------------------------------------------------------------------------


@pytest.fixture
def service(gemini_emulator: GeminiEmulator, monkeypatch: pytest.MonkeyPatch) -> GeminiEmulator:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0.01")
    return gemini_emulator


def ended(shell: Shell) -> str:
    shell.write("in.jsonl", *(request(key) for key in "abcd"))
    name = shell.run("create", "in.jsonl").out.strip()
    shell.run("status", name, "--wait")
    return name


def test_errors_are_those_of_the_service(shell: Shell, service: GeminiEmulator) -> None:
    service.faults.arm(row="error", key="b", code=3, message="Not this one.")
    name = ended(shell)

    done = shell.run("results", name, "--raw", "-o", "-")

    line = json.loads(done.out.splitlines()[1])
    assert (done.code, line) == (1, {"key": "b", "error": {"code": 3, "message": "Not this one."}})
    assert types.JobError.model_validate(line["error"]).code == 3


@pytest.mark.parametrize(
    "output", ["shuffle", "reverse", "duplicate", "conflict", "foreign", "separators", "crlf", "blank"]
)
def test_each_key_has_one_line_in_the_order_of_the_input(shell: Shell, service: GeminiEmulator, output: str) -> None:
    service.faults.arm(output=output)
    name = ended(shell)

    done = shell.run("results", name, "--raw", "-o", "raw.jsonl")

    lines = (shell.folder / "raw.jsonl").read_bytes().split(b"\n")[:-1]
    assert done.code == 0
    assert [json.loads(line)["key"] for line in lines] == list("abcd")
    assert shell.run("results", name, "--raw", "-o", "raw.jsonl").code == 0, "the file may be written anew"


def test_a_request_without_an_answer_has_no_line_and_that_is_said(shell: Shell, service: GeminiEmulator) -> None:
    service.faults.arm(job="EXPIRED", rows=1, keep=True)
    name = ended(shell)

    done = shell.run("results", name, "--raw", "-o", "raw.jsonl")

    (line,) = (shell.folder / "raw.jsonl").read_bytes().splitlines()
    assert (done.code, json.loads(line)["key"]) == (1, "a")
    assert "3 requests without a line: the service has not answered." in done.err
    with GeminiBatch() as batch:
        found = batch.results(name, raw=True)
        assert (len(found), [row["key"] for row in found]) == (1, ["a"])


def test_media_files_are_written_and_the_data_stays(shell: Shell, service: GeminiEmulator) -> None:
    """For readers of `inlineData.data`."""
    service.faults.arm(row="image", key="b")
    name = ended(shell)
    plain = shell.run("results", name, "--raw", "-o", "-").out

    done = shell.run("results", name, "--raw", "--media-dir", "media", "-o", "-")

    assert done.out == plain
    (blob,) = [
        part["inlineData"]
        for part in json.loads(plain.splitlines()[1])["response"]["candidates"][0]["content"]["parts"]
        if "inlineData" in part
    ]
    (file,) = (shell.folder / "media").glob("[!.]*")
    assert file.name.startswith("b.")
    assert file.read_bytes() == base64.b64decode(blob["data"])


def test_the_preview_is_one_json_document(shell: Shell, service: GeminiEmulator) -> None:
    name = ended(shell)
    lines = shell.run("results", name, "--raw", "-o", "-").out.splitlines()

    preview = shell.run("results", name, "--raw", "--json").document["preview"]

    assert preview == [json.loads(line) for line in lines]


OTHER_FILES = {
    "requests": b'{"key":"a","request":{"contents":[]}}\n',
    "notes": b"notes\n",
    "pairs": b'{"key":"a","request":{},"response":{"candidates":[]}}\n',
    "answers of another program": b'{"key":"a","response":"yes"}\n',
    "a table": b'{"key":"a","score":1}\n',
    "json": b'{"response": 1}\n',
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_no_other_file_is_replaced(shell: Shell, kind: str) -> None:
    shell.write("in.jsonl", request("a"))
    name = create(shell)
    (shell.folder / "out.jsonl").write_bytes(OTHER_FILES[kind])

    done = shell.run("results", name, "--raw", "-o", "out.jsonl")

    assert done.code == 2
    assert (shell.folder / "out.jsonl").read_bytes() == OTHER_FILES[kind]
