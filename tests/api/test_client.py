"""The client: what is repeated and how patiently, what an error answer says, and where requests go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from api.script import BASE, KEY, Body, Endless, Script, Waits, ask, error, reset
from gemini_batch.api import batches, files, models
from gemini_batch.api.client import UNREACHED_ATTEMPTS, Client
from gemini_batch.api.error_answers import api_error
from gemini_batch.api.trouble import exit_code, meaning
from gemini_batch.errors import ApiError, NetworkError, ServiceError, UsageError
from gemini_batch.settings import Secret
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HTML = b"<!DOCTYPE html><html><title>502</title><body><h1>Bad Gateway</h1>The server\xc2\xa0hiccuped.</body></html>"


def answer(status: int = 200, **body: Any) -> httpx2.Response:
    return httpx2.Response(status, json=body)


async def get(client: Client) -> str:
    return (await batches.get(client, "batches/b")).name


FAULTS: dict[str, Callable[[], httpx2.Response | Exception]] = {
    "408": lambda: error(408),
    "409": lambda: error(409, "ABORTED"),
    "429": lambda: error(429, "RESOURCE_EXHAUSTED"),
    "500": lambda: error(500, "INTERNAL"),
    "502 with HTML": lambda: httpx2.Response(502, content=HTML),
    "503": lambda: error(503, "UNAVAILABLE"),
    "503 with nothing": lambda: httpx2.Response(503),
    "503 that breaks off": lambda: httpx2.Response(503, stream=Body(b'{"error": {"mess', reset())),
    "504": lambda: error(504, "DEADLINE_EXCEEDED"),
    "reset": reset,
    "connection closed": lambda: httpx2.RemoteProtocolError("Server disconnected without sending a response."),
    "nobody listens": lambda: httpx2.ConnectError("All connection attempts failed"),
    "connecting takes too long": lambda: httpx2.ConnectTimeout(""),
    "reading takes too long": lambda: httpx2.ReadTimeout(""),
    "writing fails": lambda: httpx2.WriteError("Broken pipe"),
    "an answer that breaks off": lambda: httpx2.Response(200, stream=Body(b'{"name": "bat', reset())),
    "an answer that stalls": lambda: httpx2.Response(200, stream=Body(b'{"name": "bat', httpx2.ReadTimeout(""))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_harmless_request_is_repeated(fault: str) -> None:
    script, waits = Script(FAULTS[fault](), FAULTS[fault](), answer(name="batches/b")), Waits()
    assert ask(script, get, waits=waits) == "batches/b"
    assert script.played
    assert waits.seconds == [1.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 501])
def test_request_that_cannot_go_better_is_not_repeated(status: int) -> None:
    script, waits = Script(error(status)), Waits()
    with pytest.raises(ApiError) as caught:
        ask(script, get, waits=waits)
    assert caught.value.status == status
    assert waits.seconds == []


def _harmless(client: Client) -> dict[str, Awaitable[object]]:
    return {
        "get": batches.get(client, "b"),
        "cancel": batches.cancel(client, "b"),
        "delete": batches.delete(client, "b"),
        "list": anext(batches.listing(client)),
        "get a file": files.get(client, "f"),
        "delete a file": files.delete(client, "f"),
        "list files": anext(files.listing(client)),
        "start an upload": files.start_upload(client, name="f", display_name="d", mime_type="jsonl", size=1),
        "ask an upload": files.query_upload(client, f"{BASE}/upload/v1beta/files?upload_id=u"),
        "get a model": models.get(client, "m"),
    }


async def _one(client: Client, name: str) -> object:
    questions = _harmless(client)
    mine = questions.pop(name)
    for other in questions.values():
        if hasattr(other, "close"):
            other.close()
    return await mine


@pytest.mark.parametrize(
    "name",
    [
        "get",
        "cancel",
        "delete",
        "list",
        "get a file",
        "delete a file",
        "list files",
        "start an upload",
        "ask an upload",
        "get a model",
    ],
)
def test_every_harmless_request_survives_an_outage(name: str) -> None:
    asked_for = {"get": "batches/b", "get a file": "files/f", "get a model": "models/m"}.get(name, "")
    headers = {"x-goog-upload-url": "/upload", "x-goog-upload-status": "active"}
    good = httpx2.Response(200, json={"name": asked_for}, headers=headers)
    script = Script(error(503), reset(), good)
    ask(script, lambda client: _one(client, name))
    assert script.played
    first, *again = ((r.method, r.url, r.content, sorted(r.headers.items())) for r in script.requests)
    assert again == [first, first]


def test_patience_has_an_end_and_the_last_error_is_told() -> None:
    script, waits = Script(*[error(503)] * 5, error(500, "INTERNAL", "The last one.")), Waits()
    with pytest.raises(ApiError, match=r"500 INTERNAL: The last one\."):
        ask(script, get, waits=waits)
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize("fault", [httpx2.ConnectError("refused"), httpx2.ConnectTimeout(""), httpx2.PoolTimeout("")])
def test_address_where_nobody_listens_is_told_sooner(fault: Exception) -> None:
    script, waits = Script(*[fault] * UNREACHED_ATTEMPTS), Waits()
    with pytest.raises(NetworkError, match="cannot be reached"):
        ask(script, get, waits=waits)
    assert waits.seconds == [1.0, 2.0]


def test_waits_grow_to_half_a_minute_and_are_spread_by_a_quarter() -> None:
    spread: list[tuple[float, float]] = []
    waits = Waits()

    def low(start: float, end: float) -> float:
        spread.append((start, end))
        return start

    async def run() -> None:
        client = Client(BASE, Secret(KEY), world=World(sleep=waits.sleep, uniform=low))
        async with client:
            for attempt in range(1, 8):
                await client.pause(attempt, NetworkError("Broken.", sent=True))

    import asyncio

    asyncio.run(run())
    assert waits.seconds == [0.75, 1.5, 3.0, 6.0, 12.0, 22.5, 22.5]
    assert set(spread) == {(0.75, 1.25)}


def retry_info(delay: object) -> dict[str, object]:
    return {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]}


DATE = {"date": "Sun, 22 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("fields", "wait"),
    [
        (retry_info("38s"), 38.0),
        (retry_info("37.5s"), 37.5),
        (retry_info("0.2s"), 1.0),  # never quicker than our own rhythm
        (retry_info("0s"), 1.0),
        (retry_info("soon"), 1.0),
        (retry_info(38), 1.0),
        (retry_info(None), 1.0),
        ({"headers": {"retry-after": "7"}}, 7.0),
        ({"headers": {"retry-after": "0"}}, 1.0),
        ({"headers": {"retry-after": "-7"}}, 1.0),
        ({"headers": {"retry-after": "7.5"}}, 1.0),
        ({"headers": {"retry-after": "in a while"}}, 1.0),
        ({"headers": {"retry-after": "²".encode("latin-1")}}, 1.0),
        ({"headers": {"retry-after": "Sun, 22 Nov 2026 10:00:40 GMT", **DATE}}, 40.0),
        ({"headers": {"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", **DATE}}, 1.0),
        ({"headers": {"retry-after": "Sun, 22 Nov 2026 10:00:40", **DATE}}, 1.0),
        ({"headers": {"retry-after": "Sun, 22 Nov 2026 10:00:40 GMT", "date": "noon"}}, 1.0),
        ({"headers": {"retry-after": "Sun, 22 Nov 2026 10:00:40 GMT"}}, 1.0),
        ({"headers": {"retry-after": "7"}, **retry_info("38s")}, 38.0),
        ({"headers": {"retry-after": "7"}, "details": [{"@type": "x"}]}, 7.0),
    ],
)
def test_what_the_service_asks_for_is_waited_within_reason(fields: dict[str, Any], wait: float) -> None:
    waits = Waits()
    ask(Script(error(429, "RESOURCE_EXHAUSTED", **fields), answer(name="batches/b")), get, waits=waits)
    assert waits.seconds == [wait]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        (retry_info("301s"), 301.0),
        (retry_info("86400s"), 86_400.0),
        (retry_info("9" * 400 + "s"), 86_400.0),
        ({"headers": {"retry-after": "99999"}}, 86_400.0),
        ({"headers": {"retry-after": "9" * 5000}}, 86_400.0),
    ],
)
def test_pause_longer_than_a_call_is_left_to_the_caller(fields: dict[str, Any], asked: float) -> None:
    waits = Waits()
    with pytest.raises(ApiError) as caught:
        ask(Script(error(429, "RESOURCE_EXHAUSTED", **fields)), get, waits=waits)
    assert waits.seconds == []
    assert caught.value.retry_after == asked


# What an error answer says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message", "reason"),
    [
        (b'{"error":{"code":400,"message":"Bad line.","status":"INVALID_ARGUMENT"}}', "Bad line.", "INVALID_ARGUMENT"),
        (b'[{"error":{"code":400,"message":"Bad line.","status":"FAILED"}}]', "Bad line.", "FAILED"),
        (b'{"error":{"code":"invalid_request","message":"Bad line."}}', "Bad line.", ""),
        (b'{"error":{"message":"Bad line.","details":"none"}}', "Bad line.", ""),
        (b'{"error":{"message":"Bad line.","details":["one"]}}', "Bad line.", ""),
        (b'{"error":{"message":"Bad line.","details":{"a":1}}}', "Bad line.", ""),
        (b'{"error":{"message":"Bad line.","details":null}}', "Bad line.", ""),
        (b'{"error":{"message":null,"status":null}}', "no explanation", ""),
        (b'{"error":{}}', "no explanation", ""),
        (b'{"error":"nope"}', '{"error":"nope"}', ""),
        (b'{"error":null}', '{"error":null}', ""),
        (b"[]", "[]", ""),
        (b"{}", "{}", ""),
        (b"", "no explanation", ""),
        (b" \n ", "no explanation", ""),
        (HTML, "502 Bad Gateway The server hiccuped.", ""),
        (b"plain words", "plain words", ""),
        (b'{"error":{"message":"\\u001b[2Jline 1\\n\\tline 2\\u0007"}}', "[2Jline 1  line 2", ""),
        (b"\xff\xfe\x00caf\xe9", "�� caf�", ""),
        (b'{"error":{"message":"caf\xe9"}}', "caf�", ""),
        (b'{"error":{"details":[' + b"[" * 30_000, '{"error":{"details":[' + "[" * 179, ""),
        (
            b'{"error":{"x":' + b'{"a":' * 12_000 + b"1" + b"}" * 12_000 + b"}}",
            "no explanation",
            "",
        ),
    ],
)
def test_error_bodies_of_every_shape_are_told(body: bytes, message: str, reason: str) -> None:
    told = api_error(400, body, {})
    assert told.message == f"The service answered 400{f' {reason}' if reason else ''}: {message}"
    assert (told.status, told.reason) == (400, reason)
    assert told.exit_code == 4
    json.dumps(told.as_json())


def test_error_through_the_client_keeps_the_services_words() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "batch.x"}]}]
    with pytest.raises(ApiError) as caught:
        ask(Script(error(400, "INVALID_ARGUMENT", "Unknown name.", details=details)), get)
    assert caught.value.reason_code == "invalid_argument"
    assert caught.value.details == tuple(details)


@pytest.mark.parametrize(
    ("status", "fields", "code", "advice"),
    [
        (400, {"details": [{"reason": "API_KEY_INVALID"}]}, "api_key_refused", "Check GEMINI_API_KEY"),
        (401, {}, "api_key_refused", "Check GEMINI_API_KEY"),
        (403, {"details": [{"reason": "API_KEY_EXPIRED"}]}, "api_key_refused", "Check GEMINI_API_KEY"),
        (429, {}, "resource_exhausted", "Nothing is lost"),
        (503, {}, "api_error", "a few minutes"),
    ],
)
def test_errors_say_what_to_do_next(status: int, fields: dict[str, Any], code: str, advice: str) -> None:
    told = api_error(status, error(status, "", **fields).content, {})
    assert told.reason_code == code
    assert told.next is not None
    assert advice in str(told.next)


def test_endless_error_body_is_not_read_to_its_end() -> None:
    pieces = 0

    class Flood(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            nonlocal pieces
            for _ in range(10_000):
                pieces += 1
                yield b"x" * 10_000

    with pytest.raises(ApiError) as caught:
        ask(Script(httpx2.Response(400, stream=Flood())), get)
    assert pieces < 10
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        (httpx2.ConnectError("refused"), False),
        (httpx2.ConnectTimeout(""), False),
        (httpx2.PoolTimeout(""), False),
        (httpx2.ReadTimeout(""), True),
        (httpx2.WriteTimeout(""), True),
        (httpx2.ReadError("reset"), True),
        (httpx2.WriteError("broken pipe"), True),
        (httpx2.RemoteProtocolError("closed"), True),
        (httpx2.ProxyError("502 Bad Gateway"), False),
        (httpx2.DecodingError("not gzip"), True),
    ],
)
def test_network_error_knows_whether_the_request_can_have_arrived(fault: Exception, sent: bool) -> None:
    async def once(client: Client) -> None:
        await client.call("POST", client.url("x"), repeat=False)

    script = Script(fault)
    with pytest.raises(NetworkError) as caught:
        ask(script, once)
    assert caught.value.sent is sent
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        httpx2.Response(407, content=b"<html>Squid</html>"),
        httpx2.Response(407),
        httpx2.ProxyError("407 Proxy Authentication Required"),
        httpx2.ProxyError("407"),
        httpx2.ProxyError("Invalid username/password"),
    ],
    ids=["page", "nothing", "tunnel", "tunnel without words", "SOCKS"],
)
def test_a_proxy_that_wants_credentials_is_not_taken_for_the_service(refusal: Any) -> None:
    """The request never reached the service; the user has to set the proxy's user name and password."""
    script = Script(refusal)
    with pytest.raises(ApiError, match="proxy between this machine and the service refused") as caught:
        ask(script, get)

    assert len(script.requests) == 1
    assert (caught.value.status, caught.value.reason_code) == (407, "proxy_refused")
    assert exit_code(caught.value) == 2
    assert "The service answered" not in caught.value.message
    assert "HTTPS_PROXY" in str(caught.value.next)
    assert not meaning(caught.value).may_have_worked


@pytest.mark.parametrize("body", [b"", b"OK", HTML, b"[]", b'"text"', b"\xff", b'{"a":' * 50_000])
def test_success_that_is_no_answer_is_an_error_of_the_service(body: bytes) -> None:
    with pytest.raises(ServiceError, match="could not be read as Operation") as caught:
        ask(Script(httpx2.Response(200, content=body)), get)
    assert caught.value.reason_code == "unreadable_answer"


# Where requests go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    script = Script(httpx2.Response(status, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(ApiError, match="Redirects are not followed") as caught:
        ask(script, get)
    assert caught.value.reason_code == "redirected"
    assert [request.url.host for request in script.requests] == ["service.example"]


@pytest.mark.parametrize(
    ("base_url", "given", "home"),
    [
        (BASE, "https://elsewhere.example/upload/v1beta/files?upload_id=u", f"{BASE}/upload/v1beta/files?upload_id=u"),
        (BASE, "http://elsewhere.example:81/upload?a=b", f"{BASE}/upload?a=b"),
        (BASE, "https://user:word@elsewhere.example/upload", f"{BASE}/upload"),
        (BASE, "//elsewhere.example/upload", f"{BASE}/upload"),
        (BASE, "/upload?upload_id=u", f"{BASE}/upload?upload_id=u"),
        (BASE, "upload?upload_id=u", f"{BASE}/upload?upload_id=u"),
        ("http://127.0.0.1:8080", "https://elsewhere.example/upload", "http://127.0.0.1:8080/upload"),
        # Behind a gateway with a path of its own, the service's URL goes through the gateway …
        (f"{BASE}/gemini", "https://elsewhere.example/upload?u=1", f"{BASE}/gemini/upload?u=1"),
        # … unless the gateway has put itself into the URL already.
        (f"{BASE}/gemini", "https://elsewhere.example/gemini/upload?u=1", f"{BASE}/gemini/upload?u=1"),
        (f"{BASE}/gemini", f"{BASE}/gemini/upload?u=1", f"{BASE}/gemini/upload?u=1"),
        (f"{BASE}/gemini", f"{BASE}/sessions/1", f"{BASE}/sessions/1"),
        (f"{BASE}/gem", "https://elsewhere.example/gemini/upload", f"{BASE}/gem/gemini/upload"),
    ],
)
def test_nothing_is_sent_to_another_host(base_url: str, given: str, home: str) -> None:
    async def call(client: Client) -> None:
        await client.call("POST", given, keyed=False)

    script = Script(answer())
    ask(script, call, base_url=base_url)
    assert str(script.requests[0].url) == home


@pytest.mark.parametrize("base_url", [BASE, f"{BASE}/", f"{BASE}/gateway/"])
def test_base_url_may_end_in_a_slash_and_have_a_path(base_url: str) -> None:
    script = Script(answer(name="batches/b"))
    ask(script, get, base_url=base_url)
    assert str(script.requests[0].url) == f"{base_url.rstrip('/')}/v1beta/batches/b"


@pytest.mark.parametrize("base_url", ["https://bad host.example", "https://host.example:port", "https://[::1"])
def test_address_that_is_none_is_an_error_of_ours(base_url: str) -> None:
    with pytest.raises((UsageError, NetworkError)) as caught:
        ask(Script(), get, base_url=base_url)
    assert not isinstance(caught.value, NetworkError) or not caught.value.sent


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel", "", "tab\t", "\x00"])
def test_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(BASE, Secret(key), world=World())
    assert caught.value.reason_code == "bad_api_key"
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "batches/", "batches/.."])
def test_names_that_are_none_never_reach_another_method(name: str) -> None:
    script = Endless(lambda _: answer())
    with pytest.raises(UsageError):
        ask(script, lambda client: batches.delete(client, name))
    with pytest.raises(UsageError):
        ask(script, lambda client: files.delete(client, name.replace("batches", "files")))
    with pytest.raises(UsageError):
        ask(script, lambda client: models.get(client, name.replace("batches", "models")))
    assert script.requests == []


@pytest.mark.parametrize("name", ["a/../../files/f", "a?x=1", "a#b", "a:cancel", "a%2Fb", "ü", "a b"])
def test_odd_names_stay_one_piece_of_the_path(name: str) -> None:
    from urllib.parse import quote

    script = Script(answer())
    ask(script, lambda client: batches.delete(client, f"batches/{name}"))
    assert script.requests[0].url.raw_path.decode() == f"/v1beta/batches/{quote(name, safe='')}"


def test_every_request_has_a_time_limit_and_says_who_asks() -> None:
    script = Script(answer(name="batches/b"))
    ask(script, get)
    [request] = script.requests
    assert all(limit and limit > 0 for limit in request.extensions["timeout"].values())
    assert request.headers["user-agent"].startswith("gemini-batch/")
