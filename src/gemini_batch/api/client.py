"""One HTTP client for the Gemini Developer API, and for Vertex AI and Cloud Storage.

What always holds: the secret, an API key or an access token, travels in one header, to the base URL's own host only;
redirects are not followed; every call is bounded, as ``bounds`` states; only requests that may be repeated are
repeated. Errors of the transport and of the service become :class:`NetworkError` and :class:`ApiError` here and nowhere
else. All text of the service is made safe here, when it enters: it is printable, and the secret is not in it.
"""

from __future__ import annotations

import contextlib
import logging
import platform
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import httpx2

from gemini_batch import wire
from gemini_batch._version import __version__
from gemini_batch.api import bounds as api_bounds
from gemini_batch.api.bounds import Body, within
from gemini_batch.api.error_answers import PROXY_REFUSED, api_error, proxy_refused
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.errors import ApiError, NetworkError, ServiceError, UsageError
from gemini_batch.safe_text import Redactor
from gemini_batch.settings import Secret, checked_base_url, checked_key
from gemini_batch.vertex_place import on_this_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping

    from gemini_batch.api.bounds import Bounds
    from gemini_batch.world import World

#: Nothing else counts as success: the official clients also treat 201, 204 and 206 as errors.
_SUCCESS = frozenset({200})
ATTEMPTS = 6
#: An address where nothing listens is usually wrong, and the user should know soon.
UNREACHED_ATTEMPTS = 3
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
#: So many connections of a pool stay open for the next calls, and so many pools there are for many calls at once.
_KEPT_OPEN, _LANES = 256, 8

_KEY_HEADER = "x-goog-api-key"
_PARTS = ("connection", "http11", "http2", "proxy", "socks")
#: The variables that change an address: with an access token, and with an API key.
_ADDRESSES = (
    "and GOOGLE_VERTEX_BASE_URL and STORAGE_EMULATOR_HOST, if they are set",
    wire.GEMINI_ADDRESS,
)
_AGAIN = "Nothing is lost. Check the network and run the same command again."

#: Where the HTTP library logs what it sends and receives. A filter applies to its own logger only.
_LOGGERS = tuple(map(logging.getLogger, ("httpx2", *(f"httpcore2.{name}" for name in _PARTS))))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer with status 200. Its text is made safe by :meth:`Client.read` and :meth:`Client.header`."""

    content: bytes
    headers: httpx2.Headers
    status: int = 200


class Credentials(Protocol):
    """What authorizes calls."""

    @property
    def billed_to(self) -> str:
        """The project that calls count for where that is not the resource's own; empty: none is named.

        It is known once a call was authorized.
        """
        ...

    async def authorize(self) -> tuple[str, Secret]:
        """The scheme, ``x-goog-api-key`` or ``Bearer``, and the secret, which may have changed since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key. Raises UsageError, which does not show it, for one that no header can carry."""

    secret: Secret
    billed_to: str = ""

    def __post_init__(self) -> None:
        checked_key(self.secret)

    async def authorize(self) -> tuple[str, Secret]:
        """The key, in a header of its own."""
        return _KEY_HEADER, self.secret


class Client:
    """Sends requests to one base URL with one key, or other credentials. Use as an async context manager.

    Raises UsageError for an unusable address or key.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Secret | Credentials,
        *,
        world: World,
        version: str = "v1beta",
        transport: httpx2.AsyncBaseTransport | None = None,
        attempts: int = ATTEMPTS,
        bounds: Bounds | None = None,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        parts = urlsplit(self.base_url)
        self.version = version
        self.world = world
        self._attempts = attempts
        self._credentials = ApiKey(credentials) if isinstance(credentials, Secret) else credentials
        self._keyed = isinstance(self._credentials, ApiKey)
        self.bounds = bounds or api_bounds.DEFAULT
        #: Makes text of the service printable and removes the secret from it.
        self.clean = Redactor(credentials.reveal() if isinstance(credentials, Secret) else "")
        self._sent_secret = ""
        agent = f"gemini-batch/{__version__} gl-python/{platform.python_version()}"
        self._connect = partial(
            httpx2.AsyncClient,
            follow_redirects=False,
            # The only encoding that `Body` decompresses.
            headers={"user-agent": agent, "x-goog-api-client": agent, "accept-encoding": "gzip"},
            transport=transport,
            # Whoever makes many calls at once bounds them.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT_OPEN),
            # Loopback is never reached through a proxy, and without TLS there is no trust store to load.
            trust_env=not on_this_machine(self.base_url),
            verify=parts.scheme == "https",
        )
        self._http = self._connect()
        self._lanes: list[httpx2.AsyncClient] = []

    async def __aenter__(self) -> Client:
        for logger in _LOGGERS:
            logger.addFilter(self._log_filter)
        return self

    async def __aexit__(self, *_: object) -> None:
        for http in (self._http, *self._lanes):
            await http.aclose()
        for logger in _LOGGERS:
            logger.removeFilter(self._log_filter)

    def _log_filter(self, record: logging.LogRecord) -> bool:
        """Make what the HTTP library logs safe: addresses, reasons and headers can hold words of the service."""
        record.msg, record.args = self.clean(record.getMessage()), ()
        return True

    def lane(self) -> httpx2.AsyncClient:
        """A pool of connections for one of many calls at once: each call checks every idle connection of its pool."""
        if len(self._lanes) < _LANES:
            self._lanes.append(self._connect())
        else:
            self._lanes.append(self._lanes.pop(0))
        return self._lanes[-1]

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

    def session_url(self, url: str) -> str:
        """The URL of an upload session, which is written down: so it holds no secret, and leads to the base URL's host.

        Raises ServiceError for one that cannot be used.
        """
        try:
            return self.at_home(url if self.clean(url) == url else "")
        except ValueError:
            raise ServiceError(
                "The service opened no upload session (no usable upload URL in its answer).", code="upload_refused"
            ) from None

    async def call(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        keyed: bool = True,
        repeat: bool = True,
        seconds: float | None = None,
        idle: float | None = None,
        most: int | None = None,
        lane: httpx2.AsyncClient | None = None,
        expected: frozenset[int] = _SUCCESS,
    ) -> Reply:
        """Send one request and return the complete answer, whose status is ``expected``: by default, success (200).

        ``repeat=False`` sends it exactly once. ``seconds``, ``idle`` and ``most`` replace the usual bounds of the whole
        call, of silence, and of the answer's bytes. ``lane``: other connections than the usual ones. Raises
        ApiError for an error answer, NetworkError for no answer or one that takes too long, ServiceError for one that
        is too long.
        """
        seconds = self.bounds.call if seconds is None else seconds
        most = self.bounds.answer if most is None else most
        clock = self.world.monotonic
        end = clock() + seconds
        attempt = 0
        while True:
            attempt += 1
            try:
                async with (
                    within(max(0.0, end - clock()), of=seconds),
                    self._send(
                        method, url, params, content, headers, keyed=keyed, idle=idle, expected=expected, lane=lane
                    ) as got,
                ):
                    with self._network_errors(sent=True):
                        body = b"".join([piece async for piece in Body(got, most=most)])
                    return Reply(body, got.headers, got.status_code)
            except (ApiError, NetworkError) as error:
                trouble = meaning(error)
                unreached = trouble is Trouble.NOT_SENT
                tries = min(self._attempts, UNREACHED_ATTEMPTS) if unreached else self._attempts
                if not repeat or attempt >= tries or not trouble.repeatable:
                    raise
                await self.pause(attempt, error, left=end - clock())

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
        async with self._send(method, url, params, None, headers, keyed=True, idle=None, expected=expected) as response:
            yield response

    async def pause(self, attempt: int, error: ServiceError, *, left: float | None = None) -> None:
        """Wait before attempt ``attempt`` + 1: as long as the service asks, else longer each time.

        Raises ``error`` at once if that is longer than the ``left`` seconds: the caller, or the user, can wait better.
        """
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * self.world.uniform(0.75, 1.25)
        wait = max(wait, asked or 0.0)
        if wait > (self.bounds.call if left is None else left):
            raise error
        await self.world.sleep(wait)

    def read(self, reply: Reply, kind: type[T]) -> T:
        """Decode an answer as one of the ``wire`` objects, with safe text. Raises ServiceError if it is not one."""
        return wire.read(reply.content, kind, clean=self.clean, where=_ADDRESSES[self._keyed])

    def header(self, reply: Reply, name: str) -> str:
        """One header of an answer as safe text; empty if it is absent."""
        return self.clean(reply.headers.get(name, ""))

    @contextlib.asynccontextmanager
    async def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        content: bytes | AsyncIterable[bytes] | None,
        headers: Mapping[str, str] | None,
        *,
        keyed: bool,
        idle: float | None,
        expected: frozenset[int],
        lane: httpx2.AsyncClient | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request once. Until the body of a success, this takes at most the seconds of a call."""
        all_headers = dict(headers or {})
        if keyed:
            all_headers.update(await self._authorization())
        http = lane or self._http
        timeout = httpx2.Timeout(self.bounds.idle if idle is None else idle, connect=self.bounds.connect)
        with self._network_errors(sent=False):
            request = http.build_request(
                method, self.at_home(url), params=params or None, content=content, headers=all_headers, timeout=timeout
            )
        longest = max(self.bounds.call, idle or 0.0)
        async with within(longest):
            with self._network_errors(sent=True):
                response = await http.send(request, stream=True)
        try:
            if response.status_code not in expected:
                async with within(longest):
                    raise await self._error(response)
            yield response
        finally:
            await response.aclose()

    async def _authorization(self) -> dict[str, str]:
        scheme, secret = await self._credentials.authorize()
        if (value := secret.reveal()) != self._sent_secret:
            self._sent_secret, self.clean = value, Redactor(value)
        if scheme == _KEY_HEADER:
            return {_KEY_HEADER: value}
        # Without it, Vertex AI refuses the credentials of a person (403, "requires a quota project").
        billed = {"x-goog-user-project": project} if (project := self._credentials.billed_to) else {}
        return {"authorization": f"{scheme} {value}", **billed}

    async def _error(self, response: httpx2.Response) -> ApiError:
        body, most = b"", self.bounds.error
        with contextlib.suppress(httpx2.HTTPError, ServiceError):
            async for data in Body(response, most=2 * most):
                body += data
                if len(body) > most:
                    break
        return api_error(response.status_code, body, response.headers, clean=self.clean, keyed=self._keyed)

    @contextlib.contextmanager
    def _network_errors(self, *, sent: bool) -> Iterator[None]:
        """Turn every error of the HTTP library into one that says whether the request may have arrived.

        The library's messages can quote what was sent; if that is the key, the original error is not kept either.
        """
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            words = str(error)
            kept = None if self.clean.holds_secret(words.encode("utf-8", "replace")) else error
            raise _network_error(error, self.clean(words), self.base_url, sent=sent, keyed=self._keyed) from kept


def _network_error(error: Exception, words: str, address: str, *, sent: bool, keyed: bool) -> ServiceError:
    words = (words or type(error).__name__).rstrip(".")
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.UnsupportedProtocol():
            return NetworkError(
                f"The service at {address} cannot be reached: {words}.",
                sent=False,
                next=f"Check the network ({_ADDRESSES[keyed]}), then run the same command again.",
            )
        case httpx2.ProxyError() if words.startswith(str(PROXY_REFUSED)) or "username/password" in words:
            return proxy_refused()
        case httpx2.ProxyError():
            return NetworkError(
                f"The proxy between this machine and the service does not connect to {address}: {words}.",
                sent=False,
                next="Check HTTPS_PROXY, ALL_PROXY and the proxy itself, then run the same command again.",
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
