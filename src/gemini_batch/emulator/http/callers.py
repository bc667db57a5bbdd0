"""Who may call the emulator: programs on this machine, and no web page.

A page in a browser can send requests to a server on 127.0.0.1, although it cannot read the answers; and with a DNS name
that it points to 127.0.0.1 it could read them too. So every request must name the emulator by a name of this machine,
and a request that a browser marks as sent by another site is refused. The emulator's own routes accept only JSON, which
a page cannot send to another site without asking first, and that question is refused.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.addresses import is_loopback
from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.emulator.vertex import names
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from starlette.datastructures import Headers
    from starlette.requests import Request

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
#: What `Sec-Fetch-Site` says of a request that no other site caused; programs do not send this header.
_OWN = frozenset({"same-origin", "none"})
_SHOWN = 100


class _Place(NamedTuple):
    """A host in lower case, an address in its canonical form, and a port, if one is stated."""

    host: str
    port: int | None


def allowed_host(text: str, option: str = "--allow-host") -> str:
    """A name or address for an option, in canonical form. Raises :class:`UsageError`."""
    place = _place(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
    if place is None or place.port is not None or text.endswith(":"):
        raise UsageError(
            f"{text!r} is not the name or address of a host.",
            field=option,
            code="bad_argument",
            next=f"Give it without a scheme and a port, for example {option} gemini.internal.",
        )
    return place.host


class Callers:
    """The rule for one emulator. ``hosts``: the names that it may be called by, besides those of the loopback."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = frozenset(map(allowed_host, hosts))

    def refusal(self, headers: Headers) -> ApiFailure | None:
        """Why a request is refused whatever it asks for, or None."""
        named = headers.getlist("host")
        place = _place(named[0]) if len(named) == 1 else None
        if place is None or not (place.host in self._hosts or is_loopback(place.host)):
            return _refused(
                f"The emulator does not answer to the name {_shown(named)}. Use localhost or 127.0.0.1, or start "
                "it with --allow-host."
            )
        for origin in headers.getlist("origin"):
            if not _is_at(origin, place):
                return _refused(f"The emulator answers programs, not web pages: this one is from {_shown([origin])}.")
        if any(site.strip().lower() not in _OWN for site in headers.getlist("sec-fetch-site")):
            return _refused("The emulator answers programs, not web pages: a browser sent this for another site.")
        return None


def credential(headers: Headers, query: Mapping[str, str], *, bearer: bool) -> str:
    """The text by which a request's project is known: its API key; empty if it has none.

    ``bearer``: without a key, an OAuth token serves as well. Tokens change every hour: if the request names its
    project, as Google's clients do, that name counts. The text is for hashing, never for showing.
    """
    key = (headers.get("x-goog-api-key") or query.get("key") or "").strip()
    if key or not bearer:
        return key
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return ""
    project = headers.get("x-goog-user-project", "").strip()
    return f"project {project}" if project else f"token {token.strip()}"


def vertex_owner(request: Request, versions: Container[str]) -> str:
    """Whose a job of Vertex AI is: its project and location. The caller needs an OAuth token, which is not kept.

    Raises :class:`ApiFailure`: 404 for another version, 401 without a token.
    """
    given = request.path_params
    if given["version"] not in versions:
        raise errors.not_found()
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        keyed = request.headers.get("x-goog-api-key") or request.query_params.get("key")
        raise errors.no_principal() if keyed else errors.no_token()
    return names.owner(given["project"], given["location"])


def check_json(headers: Headers) -> None:
    """Accept only a body that is marked as JSON. Raises :class:`ApiFailure` (415)."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
    if kinds != ["application/json"]:
        raise ApiFailure(415, "INVALID_ARGUMENT", "The emulator's own routes need Content-Type: application/json.")


def _place(text: str) -> _Place | None:
    found = _AUTHORITY.fullmatch(text.strip())
    if found is None:
        return None
    six, name, port = found.groups()
    host = (six or name.removesuffix(".")).lower()
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        if six or not host:
            return None
    return _Place(host, int(port) if port else None)


def _is_at(origin: str, place: _Place) -> bool:
    """Whether an origin is the emulator's own: the host and port that the request names."""
    scheme, _, authority = origin.strip().lower().partition("://")
    default = _PORTS.get(scheme)
    found = _place(authority)
    if default is None or found is None:
        return False
    return (found.host, found.port or default) == (place.host, place.port or default)


def _refused(message: str) -> ApiFailure:
    return ApiFailure(403, "PERMISSION_DENIED", message)


def _shown(texts: list[str]) -> str:
    text = ", ".join(texts)
    return ascii(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
