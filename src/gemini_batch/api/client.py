"""One HTTP client for the Gemini Developer API.

What always holds: the API key travels in one header, to the base URL's own host only; redirects are not followed;
every request has a time limit; only requests that may be repeated are repeated. Errors of the transport and of the
service become :class:`NetworkError` and :class:`ApiError` here and nowhere else.
"""

from __future__ import annotations

import contextlib
import email.utils
import platform
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from gemini_batch._version import __version__
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.errors import ApiError, NetworkError, Next, ServiceError, UsageError
from gemini_batch.jsonl import decode_as
from gemini_batch.settings import checked_base_url, checked_key
from gemini_batch.wire import ErrorBody, ErrorEnvelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from gemini_batch.settings import Secret
    from gemini_batch.world import World

#: Nothing else counts as success: the official clients also treat 201, 204 and 206 as errors.
_SUCCESS = frozenset({200})
ATTEMPTS = 6
#: An address where nothing listens is usually wrong, and the user should know soon.
UNREACHED_ATTEMPTS = 3
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
TIMEOUT = 60.0

_AGAIN = "Nothing is lost. Check the network and run the same command again."
_LARGEST_ERROR_BODY = 64 * 1024
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)s$")


class Client:
    """Sends requests to one base URL with one key. Use as an async context manager.

    Raises UsageError for an unusable address or key.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Secret,
        *,
        world: World,
        version: str = "v1beta",
        transport: httpx2.AsyncBaseTransport | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        parts = urlsplit(self.base_url)
        self.version = version
        self.world = world
        self._attempts = attempts
        self._key = checked_key(api_key)
        agent = f"gemini-batch/{__version__} gl-python/{platform.python_version()}"
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(TIMEOUT, connect=15.0),
            follow_redirects=False,
            headers={"user-agent": agent, "x-goog-api-client": agent},
            transport=transport,
            # Loopback is never reached through a proxy, and without TLS there is no trust store to load.
            trust_env=parts.hostname not in {"127.0.0.1", "localhost", "::1"},
            verify=parts.scheme == "https",
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def url(self, path: str, *, prefix: str = "") -> str:
        """``{base}{/prefix}/{version}/{path}``."""
        return f"{self.base_url}{prefix}/{self.version}/{path}"

    def at_home(self, url: str) -> str:
        """``url`` with the base URL's scheme, host and port, because nothing is ever sent anywhere else.

        The service writes its own address in upload URLs. If the base URL is a gateway with a path, such a URL goes
        through that path, as did the request that opened the upload. Raises ValueError for an invalid URL.
        """
        given, base = urlsplit(url), urlsplit(self.base_url)
        path = given.path
        if not path:
            raise ValueError("an address without a path")
        if given.netloc not in {"", base.netloc} and not path.startswith(f"{base.path}/"):
            path = base.path + path
        return given._replace(scheme=base.scheme, netloc=base.netloc, path=path).geturl()

    async def call(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keyed: bool = True,
        repeat: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - handed to the transport, which knows connect from read
    ) -> httpx2.Response:
        """Send one request and return the complete answer, which is a success (200).

        ``repeat=False`` sends it exactly once. Raises ApiError for an error answer, NetworkError for no answer.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._send(
                    method, url, params, content, headers, keyed=keyed, timeout=timeout, expected=_SUCCESS
                ) as response:
                    with _network_errors(self._key, self.base_url, sent=True):
                        await response.aread()
                    return response
            except (ApiError, NetworkError) as error:
                trouble = meaning(error)
                unreached = trouble is Trouble.NOT_SENT
                most = min(self._attempts, UNREACHED_ATTEMPTS) if unreached else self._attempts
                if not repeat or attempt >= most or not trouble.repeatable:
                    raise
                await self.pause(attempt, error)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        expected: frozenset[int] = _SUCCESS,
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request once and yield the answer, of an ``expected`` status, before its body is read."""
        async with self._send(
            method, url, params, None, headers, keyed=True, timeout=None, expected=expected
        ) as response:
            yield response

    async def pause(self, attempt: int, error: ServiceError | None = None) -> None:
        """Wait before attempt ``attempt`` + 1: as long as the service asks, else longer each time."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * self.world.uniform(0.75, 1.25)
        await self.world.sleep(max(wait, min(asked, 300.0)) if asked else wait)

    @contextlib.asynccontextmanager
    async def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        *,
        keyed: bool,
        timeout: float | None,  # noqa: ASYNC109 - see call
        expected: frozenset[int],
    ) -> AsyncIterator[httpx2.Response]:
        all_headers = dict(headers or {})
        if keyed:
            all_headers["x-goog-api-key"] = self._key.reveal()
        with _network_errors(self._key, self.base_url, sent=False):
            request = self._http.build_request(
                method,
                self.at_home(url),
                params=params or None,
                content=content,
                headers=all_headers,
                timeout=httpx2.USE_CLIENT_DEFAULT if timeout is None else httpx2.Timeout(timeout, connect=15.0),
            )
        with _network_errors(self._key, self.base_url, sent=True):
            response = await self._http.send(request, stream=True)
        try:
            if response.status_code not in expected:
                raise await self._error(response)
            yield response
        finally:
            await response.aclose()

    async def _error(self, response: httpx2.Response) -> ApiError:
        body = b""
        with contextlib.suppress(httpx2.HTTPError):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _LARGEST_ERROR_BODY:
                    break
        return api_error(response.status_code, body, response.headers, secret=self._key.reveal())


@contextlib.contextmanager
def _network_errors(key: Secret, address: str, *, sent: bool) -> Iterator[None]:
    """Turn every error of the HTTP library into a NetworkError that says whether the request may have arrived.

    The library's messages can quote what was sent; if that is the ``key``, neither the message nor the error is kept.
    """
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        clean = key.reveal() not in str(error)
        raise _network_error(error, str(error) if clean else "", address, sent=sent) from (error if clean else None)


def _network_error(error: Exception, words: str, address: str, *, sent: bool) -> NetworkError:
    words = (words or type(error).__name__).rstrip(".")
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.UnsupportedProtocol():
            return NetworkError(
                f"The service at {address} cannot be reached: {words}.",
                sent=False,
                next="Check the network (and GOOGLE_GEMINI_BASE_URL, if it is set), then run the same command again.",
            )
        case httpx2.TimeoutException():
            return NetworkError("The service did not answer in time.", sent=sent, next=_AGAIN)
        case _:
            return NetworkError(f"The connection broke: {words}.", sent=sent, next=_AGAIN)


def piece(name: str) -> str:
    """A name from outside as exactly one segment of a path. Raises UsageError for an impossible one."""
    if name in {"", ".", ".."}:
        raise UsageError(f"{name!r} is not a valid name.", code="bad_name", next="Copy the complete name.")
    return quote(name, safe="")


def api_error(status: int, body: bytes, headers: Mapping[str, str], *, secret: str = "") -> ApiError:
    """The error for an HTTP error answer, whatever its body is: an envelope, a list of one, HTML, or nothing.

    ``secret`` is removed from everything, in case the service echoes it.
    """
    if secret:
        body = body.replace(secret.encode(), "…".encode())  # before anything is shortened: half a key is secret too
    parsed = _error_body(body)
    message = _printable(parsed.message or "").strip() if parsed else _first_words(body)
    if secret:
        message = message.replace(secret, "…")
    details = _details(parsed)
    reason = (parsed.status or "") if parsed else ""
    error = ApiError(
        f"The service answered {status}{f' {reason}' if reason else ''}: {message or 'no explanation'}",
        status=status,
        reason=reason,
        retry_after=_retry_after(headers, details),
        details=details,
        **_advice(status, details, message),
    )
    if error.next is None and meaning(error) is Trouble.PASSING:
        error.next = "The problem is on the service's side. Run the same command again in a few minutes."
    return error


def _error_body(body: bytes) -> ErrorBody | None:
    for kind in (ErrorEnvelope, list[ErrorEnvelope]):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found: Any = decode_as(body, kind)
            return next((each.error for each in found), None) if isinstance(found, list) else found.error
    return None


def _details(parsed: ErrorBody | None) -> tuple[Mapping[str, object], ...]:
    found = parsed.details if parsed else None
    return tuple(detail for detail in found if isinstance(detail, dict)) if isinstance(found, list) else ()


def _printable(text: str) -> str:
    """The text without control characters, which would act on the terminal."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else " " for letter in text)


def _first_words(body: bytes) -> str:
    text = re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace"))
    return " ".join(_printable(text).split())[:200]


def _retry_after(headers: Mapping[str, str], details: tuple[Mapping[str, object], ...]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (found := _DURATION.match(delay)):
            return float(found.group(1))
    value = headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    if value and headers.get("date"):
        with contextlib.suppress(ValueError, TypeError):
            until = email.utils.parsedate_to_datetime(value)
            return max(0.0, (until - email.utils.parsedate_to_datetime(headers["date"])).total_seconds())
    return None


def _advice(status: int, details: tuple[Mapping[str, object], ...], message: str) -> dict[str, Any]:
    """The error code and the next step, where the status alone determines them."""
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details) or status == 401:
        return {"code": "api_key_refused", "next": "Check GEMINI_API_KEY (GOOGLE_API_KEY is read before it)."}
    if 300 <= status < 400:
        return {
            "code": "redirected",
            "next": "Redirects are not followed, because the key is sent to one host only. "
            "Correct GOOGLE_GEMINI_BASE_URL.",
        }
    if status == 429 and "file_storage" in message:
        return {
            "code": "storage_full",
            "next": Next(
                "clean",
                why="deletes uploads that no job needs; then run the same command again. Files expire after 48 hours",
            ),
        }
    if status == 429:
        return {"code": "resource_exhausted", "next": "Nothing is lost. Run the same command again later."}
    return {}
