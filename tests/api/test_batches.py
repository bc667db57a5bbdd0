"""Batch jobs: create is sent once whatever happens, lists are walked to their end, and nothing of an answer is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import msgspec
import pytest

from api.script import BASE, Body, Endless, Script, Waits, ask, error, reset
from gemini_batch.api import batches, files
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.wire import inline_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.api.client import Client
    from gemini_batch.wire import Operation, RemoteFile


async def create(client: Client) -> Operation:
    return await batches.create(client, model="m", method=Method.GENERATE, display_name="d", file_name="files/f")


CREATE_FAULTS: dict[str, Callable[[], httpx2.Response | Exception]] = {
    **{str(status): lambda status=status: error(status) for status in (400, 401, 403, 404, 408, 409, 429, 499)},  # type: ignore[misc]
    **{str(status): lambda status=status: error(status) for status in (500, 502, 503, 504)},  # type: ignore[misc]
    "asked to come back": lambda: error(503, headers={"retry-after": "1"}),
    "a redirect": lambda: httpx2.Response(307, headers={"location": "https://service.example/again"}),
    "reset": reset,
    "closed": lambda: httpx2.RemoteProtocolError("Server disconnected"),
    "nobody listens": lambda: httpx2.ConnectError("refused"),
    "connecting takes too long": lambda: httpx2.ConnectTimeout(""),
    "reading takes too long": lambda: httpx2.ReadTimeout(""),
    "the answer breaks off": lambda: httpx2.Response(200, stream=Body(b'{"name":', reset())),
    "the answer is HTML": lambda: httpx2.Response(200, content=b"<html>"),
    "the answer is empty": lambda: httpx2.Response(200),
    "no content": lambda: httpx2.Response(204),
}


@pytest.mark.parametrize("fault", CREATE_FAULTS)
@pytest.mark.parametrize("inline", [False, True])
def test_create_is_sent_once_and_only_once(fault: str, inline: bool) -> None:
    async def make(client: Client) -> Operation:
        requests = [("1", msgspec.Raw(b"{}"))] if inline else None
        file_name = None if inline else "files/f"
        return await batches.create(
            client, model="m", method=Method.GENERATE, display_name="d", file_name=file_name, requests=requests
        )

    script, waits = Endless(lambda _: _played(CREATE_FAULTS[fault]())), Waits()
    with pytest.raises(ServiceError):
        ask(script, make, waits=waits)
    assert len(script.requests) == 1
    assert waits.seconds == []


def _played(act: httpx2.Response | Exception) -> httpx2.Response:
    if isinstance(act, Exception):
        raise act
    return act


@pytest.mark.parametrize(
    ("fault", "sent"), [(httpx2.ConnectError("refused"), False), (httpx2.ReadTimeout(""), True), (reset(), True)]
)
def test_create_that_failed_says_whether_it_can_have_arrived(fault: Exception, sent: bool) -> None:
    with pytest.raises(NetworkError) as caught:
        ask(Script(fault), create)
    assert caught.value.sent is sent


def test_what_is_written_is_exact() -> None:
    # The service reads other spellings too; ours is the one that it writes itself.
    script = Script(*[httpx2.Response(200, json={"name": "batches/b"})] * 2)

    async def embed(client: Client) -> Operation:
        return await batches.create(
            client, model="models/m", method=Method.EMBED, display_name="d", requests=[("1", msgspec.Raw(b"{}"))]
        )

    ask(script, create)
    ask(script, embed)
    source = b'{"requests":{"requests":[{"request":{},"metadata":{"key":"1"}}]}}'
    assert [(str(request.url), request.content) for request in script.requests] == [
        (
            f"{BASE}/v1beta/models/m:batchGenerateContent",
            b'{"batch":{"displayName":"d","inputConfig":{"fileName":"files/f"}}}',
        ),
        (
            f"{BASE}/v1beta/models/m:asyncBatchEmbedContent",
            b'{"batch":{"displayName":"d","inputConfig":' + source + b"}}",
        ),
    ]


def test_inline_requests_travel_byte_for_byte() -> None:
    request = (
        b'{"contents":[{"parts":[{"text":"caf\xc3\xa9 \\u00e9 \xe2\x80\xa8"}]}],"n":1.50,"big":123456789012345678901}'
    )
    script = Script(httpx2.Response(200, json={"name": "batches/b"}))

    async def make(client: Client) -> Operation:
        return await batches.create(
            client, model="m", method=Method.GENERATE, display_name="d", requests=[("ключ", msgspec.Raw(request))]
        )

    assert ask(script, make).name == "batches/b"
    body = script.requests[0].content
    assert request in body
    [item] = json.loads(body)["batch"]["inputConfig"]["requests"]["requests"]
    assert item["metadata"] == {"key": "ключ"}


def test_inline_answers_come_back_byte_for_byte() -> None:
    answer = b'{"metadata":{"key":"1"},"response":{"n":1.50,"big":123456789012345678901,"unknown":{"a":[]}}}'
    nested = b'{"inlinedResponses":{"inlinedResponses":[' + answer + b"]}}"
    body = b'{"name":"batches/b","metadata":{"output":' + nested + b'},"done":true,"response":' + nested + b"}"

    async def get(client: Client) -> Operation:
        return await batches.get(client, "b")

    assert [bytes(raw) for raw in inline_answers(ask(Script(httpx2.Response(200, content=body)), get))] == [answer]


def test_time_granted_to_the_service_is_waited_for() -> None:
    script = Script(*[httpx2.Response(200, json={"name": "batches/b"}) for _ in range(2)])
    ask(script, lambda client: batches.get(client, "b", server_timeout=600))
    ask(script, lambda client: batches.get(client, "b"))
    patient, usual = script.requests
    assert patient.headers["x-server-timeout"] == "600"
    assert patient.extensions["timeout"]["read"] > 600
    assert "x-server-timeout" not in usual.headers


# Lists --------------------------------------------------------------------------------------------------------------


def page(names: list[str], token: str | None, kind: str = "operations") -> httpx2.Response:
    body: dict[str, object] = {kind: [{"name": name} for name in names]} if names else {}
    return httpx2.Response(200, json={**body, **({} if token is None else {"nextPageToken": token})})


async def all_batches(client: Client) -> list[list[str]]:
    return [[operation.name for operation in found] async for found in batches.listing(client, page_size=2)]


async def all_files(client: Client) -> list[list[str]]:
    async def names(found: list[RemoteFile]) -> list[str]:
        return [file.name for file in found]

    return [await names(found) async for found in files.listing(client, page_size=2)]


LISTS = pytest.mark.parametrize(("walk", "kind"), [(all_batches, "operations"), (all_files, "files")])


@LISTS
@pytest.mark.parametrize(
    ("pages", "seen", "tokens"),
    [
        ([([], None)], [[]], [None]),
        ([(["a"], None)], [["a"]], [None]),
        ([(["a"], "")], [["a"]], [None]),
        ([(["a", "b"], "t/1="), (["c"], None)], [["a", "b"], ["c"]], [None, "t/1="]),
        # A page may be empty and still not the last one.
        ([(["a"], "1"), ([], "2"), (["b"], None)], [["a"], [], ["b"]], [None, "1", "2"]),
    ],
)
def test_lists_are_walked_to_their_end(
    walk: Callable[[Client], object],
    kind: str,
    pages: list[tuple[list[str], str | None]],
    seen: list[list[str]],
    tokens: list[str | None],
) -> None:
    script = Script(*[page(names, token, kind) for names, token in pages])
    assert ask(script, walk) == seen  # type: ignore[arg-type]
    assert script.played
    assert [request.url.params.get("pageToken") for request in script.requests] == tokens
    assert {request.url.params["pageSize"] for request in script.requests} == {"2"}


def test_list_goes_on_after_an_outage_in_the_middle() -> None:
    script = Script(page(["a"], "1"), error(503), reset(), page(["b"], None))
    assert ask(script, all_batches) == [["a"], ["b"]]
    assert [request.url.params.get("pageToken") for request in script.requests] == [None, "1", "1", "1"]


def test_list_that_breaks_for_good_is_not_taken_for_its_end() -> None:
    script = Script(page(["a"], "1"), error(403, "PERMISSION_DENIED"))
    with pytest.raises(ApiError):
        ask(script, all_batches)


def test_a_cancel_of_what_has_ended_changes_nothing() -> None:
    """The service words it as a failed precondition; any other refusal is one."""
    ended = error(400, "FAILED_PRECONDITION", "The batch has ended and cannot be cancelled.")
    ask(Script(ended), lambda client: batches.cancel(client, "batches/b"))

    with pytest.raises(ApiError, match="400 INVALID_ARGUMENT"):
        ask(Script(error(400, "INVALID_ARGUMENT")), lambda client: batches.cancel(client, "batches/b"))
