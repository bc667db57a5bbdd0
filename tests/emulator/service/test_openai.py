"""The paths under ``/v1beta/openai``, as OpenAI's clients call them, in plain HTTP."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import EMBEDDER, MODEL, Api, lines
from gemini_batch.emulator.http.admin import arm

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def row(key: str, text: str = "Say hello.", **body: Any) -> bytes:
    """One row in OpenAI's shape."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": text}], **body}
    return json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": asked}).encode()


@pytest.fixture
def openai(world: Api) -> Iterator[httpx2.Client]:
    """The same caller, with the key as OpenAI's clients send it."""
    headers = {"authorization": "Bearer a-key"}
    with httpx2.Client(base_url=f"{world.http.base_url}/v1beta/openai/", headers=headers, timeout=30) as http:
        yield http


def chat(openai: httpx2.Client, **body: Any) -> dict[str, Any]:
    answer = openai.post("chat/completions", json={"model": MODEL, "messages": HELLO, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(openai: httpx2.Client, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, which ends as OpenAI's do."""
    answer = openai.post("chat/completions", json={"model": MODEL, "messages": HELLO, "stream": True, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    *found, done, rest = answer.text.replace("\r\n", "\n").split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(one.startswith("data: ") for one in found)
    return [json.loads(one.removeprefix("data: ")) for one in found]


def refused(answer: httpx2.Response, status: int) -> str:
    """The message of an error, which is the only item of a list."""
    assert answer.status_code == status, answer.text
    (item,) = answer.json()
    assert item["error"]["code"] == status
    message: str = item["error"]["message"]
    return message


def test_a_chat_completion(openai: httpx2.Client, world: Api) -> None:
    """The answer is that of the native call; thinking is in the total alone."""
    native = world.http.post(
        f"/v1beta/models/{MODEL}:generateContent",
        json={"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]},
    ).json()
    found = chat(openai)
    (choice,) = found["choices"]
    text = native["candidates"][0]["content"]["parts"][0]["text"]
    assert choice == {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": text}}
    used = native["usageMetadata"]
    assert found["usage"] == {
        "prompt_tokens": used["promptTokenCount"],
        "completion_tokens": used["candidatesTokenCount"],
        "total_tokens": used["totalTokenCount"],
    }
    assert used["thoughtsTokenCount"] > 0
    assert (found["object"], found["model"], found["id"]) == (
        "chat.completion",
        native["modelVersion"],
        native["responseId"],
    )
    assert isinstance(found["created"], int)


def test_a_model_may_have_its_full_name(openai: httpx2.Client) -> None:
    assert chat(openai, model=f"models/{MODEL}") == chat(openai)


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_cuts(openai: httpx2.Client, limit: str) -> None:
    assert chat(openai, **{limit: 20})["choices"][0]["finish_reason"] == "length"


def test_several_choices(openai: httpx2.Client) -> None:
    assert [choice["index"] for choice in chat(openai, n=3)["choices"]] == [0, 1, 2]


def test_an_answer_with_a_schema(openai: httpx2.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    said = chat(openai, response_format=wanted)["choices"][0]["message"]["content"]
    assert isinstance(json.loads(said)["n"], int)


def test_a_tool_is_called_and_its_answer_understood(openai: httpx2.Client) -> None:
    """A whole round; the arguments are JSON text, the id comes back."""
    found = chat(openai, tools=[WEATHER], tool_choice="required")["choices"][0]
    assert found["finish_reason"] == "tool_calls"
    (call,) = found["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)
    again = [*HELLO, found["message"], {"role": "tool", "tool_call_id": call["id"], "content": "Sunny."}]
    assert chat(openai, messages=again, tools=[WEATHER])["choices"][0]["finish_reason"] == "stop"


def test_a_stream(openai: httpx2.Client) -> None:
    """The pieces are the text of the answer; the finish reason comes once, usage only on request."""
    whole = chat(openai)
    found = events(openai)
    deltas = [event["choices"][0]["delta"] for event in found]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert len(found) > 1
    assert [event["choices"][0].get("finish_reason") for event in found] == [None] * (len(found) - 1) + ["stop"]
    assert {(event["id"], event["object"], event["model"]) for event in found} == {
        (whole["id"], "chat.completion.chunk", whole["model"])
    }
    assert not any("usage" in event for event in found)
    *_, last = events(openai, stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]) == ([], whole["usage"])


def test_a_stream_of_a_tool_call(openai: httpx2.Client) -> None:
    """It is whole in one event, and the finish reason is ``stop``, as seen in the service's streams."""
    found = events(openai, tools=[WEATHER], tool_choice="required")
    calls = [call for event in found for call in event["choices"][0]["delta"].get("tool_calls", ())]
    whole = chat(openai, tools=[WEATHER], tool_choice="required")["choices"][0]["message"]["tool_calls"]
    assert calls == [{"index": 0, **whole[0]}]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_of_several_choices(openai: httpx2.Client) -> None:
    texts = ["", ""]
    for event in events(openai, n=2):
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == [choice["message"]["content"] for choice in chat(openai, n=2)["choices"]]


@pytest.mark.parametrize("given", ["One.", ["One."], ["One.", "Two."]])
def test_embeddings(openai: httpx2.Client, given: str | list[str]) -> None:
    body = {"model": EMBEDDER, "input": given, "dimensions": 8}
    floats = openai.post("embeddings", json=body).json()
    assert [one["index"] for one in floats["data"]] == list(range(len(given) if isinstance(given, list) else 1))
    assert {len(one["embedding"]) for one in floats["data"]} == {8}
    assert floats["usage"]["prompt_tokens"] > 0
    packed = openai.post("embeddings", json={**body, "encoding_format": "base64"}).json()
    for one, other in zip(packed["data"], floats["data"], strict=True):
        assert struct.unpack("<8f", base64.b64decode(one["embedding"])) == pytest.approx(other["embedding"])


@pytest.mark.parametrize("name", [MODEL, f"models/{MODEL}", f"models%2F{MODEL}"])
def test_models(openai: httpx2.Client, name: str) -> None:
    known = openai.get("models").json()
    assert known["object"] == "list"
    (listed,) = [one for one in known["data"] if one["id"] == f"models/{MODEL}"]
    assert (listed["object"], listed["owned_by"]) == ("model", "google")
    assert openai.get(f"models/{name}").json() == listed


def begin(openai: httpx2.Client, world: Api, data: bytes, **more: Any) -> httpx2.Response:
    made = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "input_file_id": world.upload(data)}
    return openai.post("batches", json=made | more)


def test_a_batch(openai: httpx2.Client, world: Api) -> None:
    """From the file to the output, with the statuses between; the native API shows the same job."""
    world.world.batches.queue_delay = 60
    world.world.batches.rows_per_second = 1
    data = b"\n".join([row("a"), b"", row("b", temperature=7), row("c", max_tokens=20)]) + b"\n"
    made = begin(openai, world, data).json()
    assert (made["object"], made["status"], made["model"]) == ("batch", "validating", MODEL)
    assert made["request_counts"] == {"total": 3, "completed": 0, "failed": 0}
    http, name = world.http, made["id"]
    assert http.get(f"/v1beta/{name}").json()["metadata"]["state"] == "BATCH_STATE_PENDING"
    http.post("/emulator/clock", json={"advance": 61.5})
    assert openai.get(f"batches/{name}").json()["status"] == "in_progress"
    http.post("/emulator/clock", json={"advance": 60})
    done = openai.get(f"batches/{name}").json()
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert done["created_at"] < done["completed_at"] <= done["expires_at"]
    one, two, three = (
        json.loads(line)
        for line in http.get(f"/v1beta/{done['output_file_id']}:download", params={"alt": "media"}).text.splitlines()
    )
    assert [(line["custom_id"], line["response"]["status_code"], line["error"]) for line in (one, two, three)] == [
        ("a", 200, None),
        ("b", 400, None),
        ("c", 200, None),
    ]
    whole = chat(openai)
    assert one["response"]["body"]["choices"] == whole["choices"]
    assert one["response"]["body"]["usage"] == {
        "promptTokens": whole["usage"]["prompt_tokens"],
        "completionTokens": whole["usage"]["completion_tokens"],
        "totalTokens": whole["usage"]["total_tokens"],
    }
    assert "temperature" in two["response"]["body"]["error"]["message"]
    assert three["response"]["body"]["choices"][0]["finish_reason"] == "length"
    used = http.get("/emulator/accounting", params={"keys": "true"}).json()
    assert (used["totals"]["rows"], used["totals"]["paid"], used["totals"]["failed"]) == (3, 2, 1)
    assert used["keys"] == {"a": 1, "c": 1}


def test_a_batch_of_embeddings(openai: httpx2.Client, world: Api) -> None:
    body = {"model": EMBEDDER, "input": "One.", "dimensions": 8}
    data = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}).encode()
    made = begin(openai, world, data, endpoint="/v1/embeddings").json()
    (line,) = world.results(made["id"])
    assert len(line["response"]["body"]["data"][0]["embedding"]) == 8
    assert line["response"]["body"]["usage"]["promptTokens"] > 0


def test_the_list_of_batches(openai: httpx2.Client, world: Api) -> None:
    """Newest first, in pages, with those that the native API created."""
    names = [
        begin(openai, world, row("a")).json()["id"],
        world.begin(lines(1)),
        begin(openai, world, row("b")).json()["id"],
    ]
    first = openai.get("batches", params={"limit": 2}).json()
    assert [one["id"] for one in first["data"]] == [names[2], names[1]]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, names[2], names[1])
    rest = openai.get("batches", params={"limit": 2, "after": first["last_id"]}).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([names[0]], False)
    assert refused(openai.get("batches", params={"after": "batches/none"}), 404)


@pytest.mark.parametrize("full", [True, False])
def test_cancelling(openai: httpx2.Client, world: Api, *, full: bool) -> None:
    """The rest of a running batch has a status for each row; each name of a batch will do."""
    world.world.batches.rows_per_second = 1
    name = begin(openai, world, b"\n".join(row(f"r{n}") for n in range(100))).json()["id"]
    world.http.post("/emulator/clock", json={"advance": 3})
    assert openai.get(f"batches/{name}").json()["status"] == "in_progress"
    shown = name if full else name.removeprefix("batches/")
    assert openai.post(f"batches/{shown}/cancel").json()["status"] == "cancelling"
    statuses = [line["response"]["status_code"] for line in world.results(name)]
    assert len(statuses) == 100
    assert set(statuses) == {200, 499}
    assert openai.get(f"batches/{shown}").json()["status"] == "completed"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"job": "FAILED", "code": 13, "message": "An internal error."}, "failed"),
        ({"job": "EXPIRED"}, "expired"),
        ({"job": "CANCELLED"}, "cancelled"),
    ],
)
def test_a_batch_that_ends_badly(openai: httpx2.Client, world: Api, fault: dict[str, Any], status: str) -> None:
    arm(world.world, **fault)
    name = begin(openai, world, row("a")).json()["id"]
    found = openai.get(f"batches/{name}").json()
    assert found["status"] == status
    assert f"{status}_at" in found
    assert "output_file_id" not in found
    if status == "failed":
        assert found["errors"]["data"] == [{"code": "13", "message": "An internal error."}]


def test_faults_of_rows_and_output_files(openai: httpx2.Client, world: Api) -> None:
    """They are those of all batches; a damaged line stays damaged, and each row counts once."""
    arm(world.world, row="error", code=8, message="Exhausted.", key="b")
    arm(world.world, output="duplicate", key="a")
    arm(world.world, output="broken", key="c")
    name = begin(openai, world, b"\n".join(row(key) for key in "abc")).json()["id"]
    file = world.finish(name)["response"]["responsesFile"]
    data = world.http.get(f"/v1beta/{file}:download", params={"alt": "media"}).content.splitlines()
    good = [json.loads(line) for line in (data[0], data[1], data[3])]
    assert [(line["custom_id"], line["response"]["status_code"]) for line in good] == [
        ("a", 200),
        ("b", 429),
        ("a", 200),
    ]
    with pytest.raises(json.JSONDecodeError):
        json.loads(data[2])
    used = world.http.get("/emulator/accounting", params={"keys": "true"}).json()
    assert used["keys"] == {"a": 1, "c": 1}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{", "Error on line 2: invalid JSON"),
        (b"[]", "Error on line 2: invalid JSON, near column 1: expected an object"),
        (lines(1), "Error on line 2: the row has no custom_id"),
        (row(""), "Error on line 2: the row has no custom_id"),
        (row("b", stream=True), "Error on line 2: a row cannot be streamed"),
        (row("b", model="gemini-2.5-pro"), "Error on line 2: the model is gemini-2.5-pro"),
        (row("b", model=""), "Error on line 2: the row names no model"),
        (
            row("b", frequency_penalty=1),
            'Error on line 2: Invalid JSON payload received. Unknown name "frequency_penalty"',
        ),
        (row("b", messages=[]), "Error on line 2"),
        (row("b").replace(b"/v1/chat", b"/v2/chat"), "Error on line 2: the url is '/v2/chat/completions'"),
        (row("b").replace(b"POST", b"GET"), "Error on line 2: the method is 'GET'"),
        (b'{"custom_id":"b","body":null}', "Error on line 2: Invalid JSON payload received."),
    ],
)
def test_bad_rows_refuse_the_batch(openai: httpx2.Client, world: Api, bad: bytes, said: str) -> None:
    """With the number of the line; nothing is left behind."""
    answer = begin(openai, world, row("a") + b"\n" + bad)
    if b'"messages": []' in bad:  # a row without contents fails when it is processed, as all such rows do
        assert answer.status_code == 200
        return
    assert said in refused(answer, 400)
    assert not list(world.world.store.blobs.glob("rows-*"))
    assert openai.get("batches").json()["data"] == []


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"input_file_id": "files/none"}, 403),
        ({"endpoint": "/v1/responses"}, 400),
        ({"completion_window": "1h"}, 400),
        ({"metadata": {"a": "b"}}, 400),
        ({"endpoint": "/v1/embeddings"}, 400),
    ],
)
def test_bad_batches(openai: httpx2.Client, world: Api, more: dict[str, Any], status: int) -> None:
    assert refused(begin(openai, world, row("a"), **more), status)


def test_a_file_without_rows(openai: httpx2.Client, world: Api) -> None:
    assert "there are no requests" in refused(begin(openai, world, b"\n\n"), 400)


PATHS = [
    ("POST", "chat/completions"),
    ("POST", "embeddings"),
    ("GET", "models"),
    ("GET", f"models/{MODEL}"),
    ("POST", "batches"),
    ("GET", "batches"),
    ("GET", "batches/x"),
    ("POST", "batches/batches/x/cancel"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("header", ["", "a-key", "Basic a-key", "Bearer"])
def test_the_key_is_a_bearer_token(world: Api, method: str, path: str, header: str) -> None:
    headers = {"authorization": header} if header else {}
    answer = httpx2.request(method, f"{world.http.base_url}/v1beta/openai/{path}", headers=headers)
    assert refused(answer, 400) == "Missing or invalid Authorization header."


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_only_under_v1beta(openai: httpx2.Client, world: Api, version: str, method: str, path: str) -> None:
    answer = openai.request(method, f"{world.http.base_url}/{version}/openai/{path}")
    assert "/v1beta/openai" in refused(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "files", "The emulator does not serve files"),
        ("GET", "files/files/x/content", "The emulator does not serve files"),
        ("DELETE", "files/x", "The emulator does not serve files"),
        ("POST", "responses", "The emulator does not serve /v1beta/openai/responses"),
        ("POST", "images/generations", "The emulator does not serve /v1beta/openai/images/generations"),
        ("DELETE", "models/x", "The emulator does not serve /v1beta/openai/models/x"),
    ],
)
def test_what_is_not_served_says_so(openai: httpx2.Client, method: str, path: str, said: str) -> None:
    assert refused(openai.request(method, path), 404).startswith(said)


def test_projects_are_apart(openai: httpx2.Client, world: Api, other: Api) -> None:
    """A key is the same project on both kinds of path."""
    name = begin(openai, world, row("a")).json()["id"]
    assert world.get(name)
    mine = {"authorization": "Bearer another-key"}
    assert refused(openai.get(f"batches/{name}", headers=mine), 404)
    assert openai.get("batches", headers=mine).json()["data"] == []
    assert other.http.get(f"/v1beta/{name}").status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "gemini-none"}, "models/gemini-none is not found"),
        ({"model": EMBEDDER}, f"models/{EMBEDDER} is not found"),
        ({"messages": []}, "contents is not specified"),
        ({"temperature": 7}, "temperature"),
        ({"frequency_penalty": 1, "seed": 3}, 'Unknown name "frequency_penalty"'),
    ],
)
def test_refused_chats(openai: httpx2.Client, body: dict[str, Any], said: str) -> None:
    answer = openai.post("chat/completions", json={"model": MODEL, "messages": HELLO, **body})
    assert said in refused(answer, answer.status_code)
    assert answer.status_code in (400, 404)


def test_a_fault_of_a_call_has_this_shape_too(openai: httpx2.Client, world: Api) -> None:
    arm(world.world, operation="openai.chat", error="overloaded")
    answer = openai.post("chat/completions", json={"model": MODEL, "messages": HELLO})
    assert "overloaded" in refused(answer, 503)


def test_openai_rows_on_the_native_endpoint_are_refused(world: Api) -> None:
    """Unless a switch allows them."""
    assert world.create(row("a")).status_code == 400


@pytest.mark.parametrize("first", [b"", b"\n \n"])
def test_openai_rows_on_the_native_endpoint(world: Api, first: bytes) -> None:
    """With the switch, a file of them is run with the model of the job, and its output has their shape."""
    world.world.batches.openai_rows = True
    name = world.begin(first + row("a", model="whatever") + b"\n" + row("b"))
    found = world.results(name)
    assert [(line["custom_id"], line["response"]["status_code"]) for line in found] == [("a", 200), ("b", 200)]
    assert found[0]["response"]["body"]["model"].startswith(MODEL)
    assert world.get(name)["metadata"]["batchStats"]["successfulRequestCount"] == "2"


def test_with_the_switch_ordinary_files_stay_ordinary(world: Api) -> None:
    world.world.batches.openai_rows = True
    assert [line["key"] for line in world.results(world.begin(lines(2)))] == ["row-0", "row-1"]
    mixed = world.create(lines(1) + row("a"))
    assert "Error on line 2" in mixed.json()["error"]["message"]
