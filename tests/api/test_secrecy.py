"""The API key goes into one header, to one host, and nowhere else: not into errors, not into logs, not into URLs."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import httpx2
import pytest

from api.script import BASE, KEY, Body, Everything, Script, Waits, ask, error
from gemini_batch.api import batches, files, models
from gemini_batch.api.client import Client
from gemini_batch.api.error_answers import api_error
from gemini_batch.backend import GeminiService
from gemini_batch.catalog import Method
from gemini_batch.emulator.http.server import serve
from gemini_batch.errors import Error
from gemini_batch.safe_text import Redactor
from gemini_batch.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long a piece of the key must be to count as one.
_PIECE = 12


def shown(caught: Error) -> str:
    """Everything that an error can show of itself, traceback and chained errors included."""
    return "\n".join(
        [
            str(caught),
            repr(caught),
            repr(caught.args),
            repr(caught.as_json()),
            repr(vars(caught)),
            *traceback.format_exception(caught),
        ]
    )


def pieces_of_key(text: str) -> list[str]:
    return [KEY[at : at + _PIECE] for at in range(len(KEY) - _PIECE + 1) if KEY[at : at + _PIECE] in text]


def filler(length: int) -> str:
    return "w" * length


ECHOES: dict[str, httpx2.Response] = {
    "in the message": error(400, "INVALID_ARGUMENT", f"API key {KEY} not valid, {KEY}."),
    "in the status": error(403, KEY, "No."),
    "in the details": error(403, "X", "No.", details=[{"reason": KEY, "metadata": {"consumer": [f"key:{KEY}", KEY]}}]),
    "in a list": httpx2.Response(400, json=[{"error": {"message": f"key={KEY}"}}]),
    "in HTML": httpx2.Response(502, content=f"<html><b>{KEY}</b></html>".encode()),
    "in plain text": httpx2.Response(500, content=f"GET /?key={KEY}".encode()),
    "across the cut of a long text": httpx2.Response(400, content=(filler(185) + KEY).encode()),
    "across the cut of a longer text": httpx2.Response(400, content=("<br>" * 495 + KEY).encode()),
    "in broken JSON": httpx2.Response(400, content=f'{{"error": {{"message": "{KEY}'.encode()),
    "in bytes that are no text": httpx2.Response(400, content=b"\xff" + KEY.encode() + b"\xff"),
    "escaped": httpx2.Response(400, content=f'{{"error":{{"message":"\\u0041{KEY[1:]}"}}}}'.encode()),
    "in a redirect": httpx2.Response(302, headers={"location": f"https://elsewhere.example/?key={KEY}"}),
}


@pytest.mark.parametrize("where", ECHOES)
def test_key_that_the_service_echoes_is_not_passed_on(where: str) -> None:
    response = ECHOES[where]
    told = api_error(response.status_code, response.content, response.headers, clean=Redactor(KEY))
    assert pieces_of_key(shown(told)) == []


@pytest.mark.parametrize("where", ["in the message", "in the details", "across the cut of a long text"])
def test_client_knows_what_to_keep_to_itself(where: str) -> None:
    echo = ECHOES[where]
    answers = [httpx2.Response(echo.status_code, content=echo.content) for _ in range(6)]
    with pytest.raises(Error) as caught:
        ask(Script(*answers), lambda client: batches.get(client, "b"))
    assert pieces_of_key(shown(caught.value)) == []


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("All connection attempts failed"),
        httpx2.ReadTimeout(""),
        httpx2.ReadError("reset"),
        httpx2.LocalProtocolError(f"Illegal header value b'{KEY}'"),
        httpx2.RemoteProtocolError(f"illegal status line: {KEY}"),
    ],
)
def test_broken_connection_does_not_show_the_key(fault: Exception) -> None:
    async def once(client: Client) -> None:
        await client.call("GET", client.url("x"), repeat=False)

    with pytest.raises(Error) as caught:
        ask(Script(fault), once)
    assert pieces_of_key(shown(caught.value)) == []


@pytest.fixture
def everything() -> Iterator[Everything]:
    """All that any library logs, at any level."""
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def test_nothing_is_logged_that_holds_the_key(everything: Everything, tmp_path: Path) -> None:
    content = b'{"key":"1","request":{"contents":[{"parts":[{"text":"hi"}]}]}}\n'

    async def life() -> None:
        async with Client(emulator.url, Secret(KEY), world=Waits().world()) as client:
            service = GeminiService(client)
            await service.get_model("gemini-3.8-flash")
            session = await service.start_upload(name="f-1", display_name="d", size=len(content))
            assert KEY not in session
            await service.send_upload(
                session,
                lambda start, length: content[start : start + length],
                size=len(content),
                offset=0,
                progress=lambda _: None,
            )
            made = await service.create(
                model="gemini-3.8-flash", method=Method.GENERATE, display_name="d", file_name="files/f-1"
            )
            await service.get(made.name)
            with pytest.raises(Error):
                await service.get("batches/unknown")

    import asyncio

    with serve(tmp_path) as emulator:
        asyncio.run(life())
    assert any(":batchGenerateContent" in line for line in everything.lines)
    assert not [line for line in everything.lines if pieces_of_key(line)]


def test_words_of_the_service_are_logged_without_the_key(everything: Everything) -> None:
    """The reason after the status, and a page token that stands in the next address."""
    first = httpx2.Response(200, json={"nextPageToken": f"t{KEY}"}, extensions={"reason_phrase": KEY.encode()})

    async def walk(client: Client) -> None:
        async for _ in batches.listing(client):
            pass

    ask(Script(first, httpx2.Response(200, json={})), walk)
    assert len([line for line in everything.lines if "HTTP Request" in line]) == 2
    assert not [line for line in everything.lines if pieces_of_key(line)]


@pytest.mark.parametrize("form", [KEY, "".join(f"%{ord(letter):02x}" for letter in KEY)])
def test_upload_address_with_the_key_is_refused(form: str) -> None:
    """It would be written to the ledger."""
    answer = httpx2.Response(200, headers={"x-goog-upload-url": f"https://elsewhere.example/up?key={form}"})
    with pytest.raises(Error) as caught:
        ask(Script(answer), lambda c: files.start_upload(c, name="f", display_name="d", mime_type="jsonl", size=1))
    assert caught.value.reason_code == "upload_refused"
    assert pieces_of_key(shown(caught.value)) == []


def test_key_is_in_one_header_and_in_no_address_or_body() -> None:
    ok = {"x-goog-upload-url": "https://elsewhere.example/up?u=1", "x-goog-upload-status": "active"}
    names = ["batches/b", "batches/c", "models/m", "files/f", "files/f", "files/f"]
    script = Script(*[httpx2.Response(200, json={"name": name}, headers=ok) for name in names])

    async def several(client: Client) -> None:
        await batches.get(client, "b")
        await batches.create(client, model="m", method=Method.GENERATE, display_name="d", file_name="files/f")
        await models.get(client, "m")
        await files.get(client, "f")
        url = await files.start_upload(client, name="f", display_name="d", mime_type="jsonl", size=1)
        await files.query_upload(client, url)

    ask(script, several)
    assert script.sent("x-goog-api-key") == [KEY] * 5 + [None]
    for request in script.requests:
        assert str(request.url).startswith(f"{BASE}/")
        rest = [str(request.url), *(value for name, value in request.headers.items() if name != "x-goog-api-key")]
        assert pieces_of_key("\n".join([*rest, request.content.decode()])) == []


def test_client_does_not_show_its_key() -> None:
    client = Client(BASE, Secret(KEY), world=Waits().world())
    assert pieces_of_key(f"{client!r} {client} {vars(client)}") == []


def test_body_that_breaks_off_in_an_error_does_not_show_the_key() -> None:
    broken = httpx2.Response(400, stream=Body(f'{{"error":{{"message":"{KEY}'.encode(), httpx2.ReadError("reset")))
    with pytest.raises(Error) as caught:
        ask(Script(broken), lambda client: batches.get(client, "b"))
    assert pieces_of_key(shown(caught.value)) == []
