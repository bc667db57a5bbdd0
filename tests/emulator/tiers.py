"""Calls with a tier, in plain HTTP, and what the emulator's account says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.conftest import MODEL

if TYPE_CHECKING:
    import httpx2

    from emulator.conftest import Api


def ask(api: Api, text: str = "Say something nice.", *, tier: Any = "flex", stream: bool = False) -> httpx2.Response:
    """One call; ``tier`` None: without one."""
    body: dict[str, Any] = {"contents": [{"parts": [{"text": text}]}]}
    if tier is not None:
        body["serviceTier"] = tier
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return api.http.post(f"/v1beta/models/{MODEL}:{method}", json=body)


def tier_of(answer: httpx2.Response) -> str | None:
    """The tier that served a call, by its header."""
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-gemini-service-tier")


def paid(api: Api) -> int:
    """How many calls were paid."""
    found: int = api.http.get("/emulator/accounting").json()["repeated"]["paid"]
    return found
