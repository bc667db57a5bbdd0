"""Tokens: refreshed before they expire, in one header, to Google only, and nowhere in what is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from api.script import BASE, Script, Waits, error
from gemini_batch.api.client import Client
from gemini_batch.api.vertex.credentials import Tokens
from gemini_batch.backend import open_backend
from gemini_batch.errors import ApiError, NetworkError, ServiceError, UsageError
from gemini_batch.settings import load_settings
from gemini_batch.world import World

TOKEN = "ya29.c.TheTokenOfTheseTests_{}-0123456789abcdef"


@dataclass
class Credentials:
    """As google-auth has them; ``fails``: what a refresh raises, in turn."""

    fails: list[Exception] = field(default_factory=list)
    refreshed: int = 0
    valid: bool = False
    token: str = ""
    quota_project_id: str | None = None

    def refresh(self, _: object) -> None:
        """Get the next token."""
        if self.fails:
            raise self.fails.pop(0)
        self.refreshed += 1
        self.token, self.valid = TOKEN.format(self.refreshed), True


def call(script: Script, credentials: Credentials, times: int = 1) -> None:
    async def run() -> None:
        tokens = Tokens(lambda: (credentials, object))
        transport = httpx2.MockTransport(script)
        async with Client(BASE, tokens, world=Waits().world(), transport=transport) as client:
            for _ in range(times):
                await client.call("GET", client.url("x"))
                credentials.valid = False

    asyncio.run(run())


def test_a_token_is_renewed_when_it_is_no_longer_valid() -> None:
    script = Script(*[httpx2.Response(200)] * 3)
    call(script, Credentials(), times=3)
    assert script.sent("authorization") == [f"Bearer {TOKEN.format(n)}" for n in (1, 2, 3)]
    assert script.sent("x-goog-api-key") == [None] * 3


def test_a_token_in_an_answer_is_not_shown() -> None:
    told = error(400, "INVALID_ARGUMENT", f"You sent {TOKEN.format(1)}.")
    with pytest.raises(ApiError) as caught:
        call(Script(told), Credentials())
    assert "You sent …" in caught.value.message


def test_the_project_that_calls_count_for_is_named() -> None:
    """Vertex AI refuses the credentials of a person without it."""
    script = Script(*[httpx2.Response(200)] * 2)
    call(script, Credentials(quota_project_id="p-1"))
    call(script, Credentials())
    assert script.sent("x-goog-user-project") == ["p-1", None]


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        ("TransportError", NetworkError, "network"),
        ("RefreshError", ServiceError, "credentials_refused"),
    ],
)
def test_no_token_can_be_had(raised: str, kind: type[ServiceError], code: str) -> None:
    from google.auth import exceptions

    failure = getattr(exceptions, raised)(f"invalid_grant {TOKEN}")
    with pytest.raises(kind) as caught:
        call(Script(), Credentials([failure] * 3))  # an address that is not reached is tried again
    assert TOKEN not in str(caught.value)
    assert caught.value.reason_code == code
    assert caught.value.next


def test_a_machine_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth import exceptions

    def none(**_: Any) -> Any:
        failure: Exception = vars(exceptions)["DefaultCredentialsError"]("none")
        raise failure

    monkeypatch.setattr("google.auth.default", none)
    with pytest.raises(UsageError) as caught:
        asyncio.run(Tokens().authorize())
    assert caught.value.reason_code == "no_credentials"

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "broken.json")
    with pytest.raises(UsageError, match="The file that GOOGLE_APPLICATION_CREDENTIALS names"):
        asyncio.run(Tokens().authorize())


def test_no_real_token_goes_to_this_machine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator gets a word that says so; google-auth is not even asked."""
    monkeypatch.setattr("google.auth.default", lambda **_: pytest.fail("asked for credentials"))
    env = {"GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:9", "STORAGE_EMULATOR_HOST": "http://localhost:9"}
    settings = load_settings({**env, "GOOGLE_CLOUD_PROJECT": "p"}, tmp_path, backend="vertex", home=tmp_path)
    sent: list[str | None] = []

    async def answer(_: object, request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("authorization"))
        return httpx2.Response(200, json={})

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", answer)

    async def run() -> None:
        async with open_backend(settings, emulator_data=tmp_path, world=World()) as backend:
            assert [page async for page in backend.service.listing()] == [[]]

    asyncio.run(run())
    assert sent == ["Bearer no-token-is-needed-here"]
