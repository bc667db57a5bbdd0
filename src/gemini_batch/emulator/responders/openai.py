"""Any OpenAI-compatible server as the responder, through its chat completions and embeddings.

One request is one call. Nothing is retried here: a call that fails is that row's error. Calls go to the given address
and nowhere else; redirects are not followed. The server's key is sent only there and appears in no message.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gemini_batch import jsonl
from gemini_batch.emulator.responders import chat_format
from gemini_batch.errors import RowError, UsageError

#: In seconds. Long, because a small machine may take minutes for an answer.
TIMEOUT = 600.0
_CONNECT_TIMEOUT = 10.0
_LARGEST_ANSWER = 64 << 20
#: gRPC codes of HTTP statuses; other 4xx are 3 (INVALID_ARGUMENT), other 5xx 13 (INTERNAL).
_CODES = {401: 16, 403: 7, 404: 5, 408: 4, 409: 10, 429: 8, 502: 14, 503: 14, 504: 4, 529: 14}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server's address (ending in ``/v1``), and how to call it.

    ``model``: the server's name for the model; None passes the request's model on. ``timeout``: seconds per answer.
    """

    url: str
    model: str | None = None
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        """Refuse an unusable address. Raises :class:`UsageError`."""
        parts = urlsplit(self.url)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise UsageError(
                f"{self.url!r} is not a server's address.",
                next="Write it like this: --responder openai=http://127.0.0.1:11434/v1,model=NAME",
            )
        if parts.username is not None:
            raise UsageError(
                "A server's address must not contain a password.",
                next="Put the server's key in the environment: export OPENAI_API_KEY=…",
            )


class OpenAI:
    """Answers one request per call; many calls may be awaited at once, on one event loop."""

    def __init__(self, server: Server, *, key: str | None = None, concurrency: int = 8) -> None:
        """``key`` is sent to this server only, as a bearer token.

        Raises :class:`UsageError` for a key that cannot be sent in a header.
        """
        key = (key or "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY contains characters that no key has.", next="Copy the key again.")
        self._server = server
        self._key = key
        parts = urlsplit(server.url)
        self._url = server.url.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=_CONNECT_TIMEOUT),
            limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            follow_redirects=False,
            headers={"authorization": f"Bearer {key}"} if key else {},
            # Loopback never goes through a proxy, and without TLS there is no trust store to load.
            trust_env=parts.hostname not in {"127.0.0.1", "localhost", "::1"},
            verify=parts.scheme == "https",
        )

    async def __call__(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request for generation or for an embedding. Raises :class:`RowError`."""
        name = self._server.model or model
        if "content" in request:
            answer = await self._post("embeddings", chat_format.embedding_request(name, request))
            return self._named(chat_format.embedding_answer, request, answer)
        body = chat_format.chat_request(name, request)
        thinking = (request.get("generationConfig") or {}).get("thinkingConfig") or {}
        answer = await self._post("chat/completions", body)
        return self._named(chat_format.chat_answer, name, answer, thoughts=bool(thinking.get("includeThoughts")))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _post(self, method: str, body: dict[str, Any]) -> Any:
        url = f"{self._url}/{method}"
        headers = {"content-type": "application/json"}
        data = bytearray()
        try:
            async with (
                asyncio.timeout(self._server.timeout),
                self._http.stream("POST", url, content=jsonl.encode(body), headers=headers) as response,
            ):
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > _LARGEST_ANSWER:
                        raise self._failed(
                            13, f"{self._shown} sent more than {_LARGEST_ANSWER >> 20} MiB in one answer."
                        )
        except (TimeoutError, httpx2.TimeoutException):
            seconds = f"{self._server.timeout:g}"
            raise self._failed(4, f"{self._shown} did not answer within {seconds} s.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            shown = str(error) or type(error).__name__
            raise self._failed(14, f"{self._shown} could not be reached or closed the connection: {shown}") from None
        if response.status_code != 200:
            raise self._refused(response, bytes(data), method)
        try:
            return jsonl.decode(bytes(data))
        except jsonl.NotJson:
            raise self._failed(13, f"{self._shown} sent an answer that is not JSON: {_beginning(data)}") from None

    def _refused(self, response: httpx2.Response, data: bytes, method: str) -> RowError:
        status = response.status_code
        code = _CODES.get(status) or (3 if 400 <= status < 500 else 13)
        said = _said(data)
        if 300 <= status < 400:
            said = f"it redirects to {response.headers.get('location', 'nowhere')}; use the final address."
        elif status in (404, 405) and not self._url.endswith("/v1"):
            said += f" The request went to {self._url}/{method}: should your address end in /v1?"
        return self._failed(code, f"{self._shown} answered {status}: {said}")

    def _named(self, read: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read an answer; errors in it are reported with the server's address."""
        try:
            made: dict[str, Any] = read(*arguments, **options)
        except RowError as error:
            raise self._failed(error.code, f"{self._shown}: {error.message}") from None
        return made

    def _failed(self, code: int, message: str) -> RowError:
        return RowError(code, message.replace(self._key, "…") if self._key else message)


def _said(data: bytes) -> str:
    """A server's own error message: ``error.message``, ``error``, ``detail``, ``message``, or the text itself."""
    try:
        value = jsonl.decode(data)
    except jsonl.NotJson:
        return _beginning(data)
    if isinstance(value, dict):
        found = value.get("error") or value.get("detail") or value.get("message") or value
        if isinstance(found, dict):
            found = found.get("message") or found
        value = found
    return _beginning(value.encode("utf-8", "replace") if isinstance(value, str) else jsonl.encode(value))


def _beginning(data: bytes | bytearray) -> str:
    text = " ".join(bytes(data[:2000]).decode("utf-8", "replace").split())
    return (text[:500] + "…" if len(text) > 500 else text) or "nothing"
