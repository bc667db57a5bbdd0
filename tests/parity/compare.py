"""Requests made comparable: what of an HTTP request carries meaning, and where two of them differ.

``place`` names a spot of a request: ``method``, ``url``, ``query``, ``header x-goog-api-key``,
``body.batch.displayName``. A side on which the spot is missing shows as :data:`ABSENT`.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from httpx2 import AsyncByteStream, Headers, Request, Response, SyncByteStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ABSENT = "(absent)"
#: Every HTTP client sets these in its own way and no answer of the service depends on them; `content-length` follows
#: from the body, which is compared, and `host` from the URL.
_CLIENTS_OWN = frozenset({"accept", "connection", "content-length", "host", "user-agent", "x-goog-api-client"})
#: What the HTTP library offers by itself, and what we offer, because we bound it; anything else was meant.
_USUAL_ENCODINGS = frozenset({"gzip, deflate", "gzip"})
#: int64 fields: proto JSON reads a number and a string of digits alike.
_INT64 = frozenset({"sizeBytes"})
#: Their keys are the user's own words: not field names, so never respelled.
_FREE = frozenset({"metadata", "properties", "args"})


def spots(request: Request) -> dict[str, Any]:
    """Everything meaningful in one request, by place."""
    body = dict(_body(request.content, request.headers))
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in _CLIENTS_OWN
        and not (name == "accept-encoding" and value in _USUAL_ENCODINGS)
        and not (name == "content-type" and not request.content)  # the type of nothing
    }
    url = request.url
    return {
        "method": request.method,
        "url": f"{url.scheme}://{url.netloc.decode()}{url.raw_path.split(b'?')[0].decode()}",
        "query": sorted(url.params.multi_items()),
        **{f"header {name}": value for name, value in headers.items()},
        **body,
    }


def differences(theirs: Request, ours: Request) -> dict[str, tuple[Any, Any]]:
    """``{place: (their value, our value)}`` for every place where the two do not agree."""
    left, right = spots(theirs), spots(ours)
    return {
        place: (left.get(place, ABSENT), right.get(place, ABSENT))
        for place in sorted({*left, *right})
        if left.get(place, ABSENT) != right.get(place, ABSENT)
    }


def _body(content: bytes, headers: Headers) -> Iterator[tuple[str, Any]]:
    if "x-goog-upload-offset" in headers:  # the file's own bytes
        yield "body", f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"
    elif content:
        yield from _leaves("body", _proto_json(json.loads(content)))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _leaves(f"{place}.{name}", inner)
        case list() if value:
            for index, inner in enumerate(value):
                yield from _leaves(f"{place}.{index}", inner)
        case _:
            yield place, value


def _proto_json(value: Any, *, free: bool = False, name: str = "") -> Any:
    """One spelling of what proto3 JSON reads as the same: field names, int64, whole floats, omitted empties."""
    match value:
        case dict():
            fields = {
                key if free else _camel(key): _proto_json(
                    inner, free=not free and _camel(key) in _FREE, name="" if free else _camel(key)
                )
                for key, inner in value.items()
            }
            return fields if free else {key: inner for key, inner in fields.items() if inner not in (None, "", [])}
        case list():
            return [_proto_json(inner, name=name) for inner in value]
        case str() if name in _INT64 and value.isdigit():
            return int(value)
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


class _Body(AsyncByteStream, SyncByteStream):
    """A body that is still to come, for either kind of client."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


class Recorder:
    """A service that says yes to everything, in the least words each client is content with."""

    def __init__(self, *, upload_host: str = "https://generativelanguage.googleapis.com") -> None:
        self.requests: list[Request] = []
        self._upload_host = upload_host

    def __call__(self, request: Request) -> Response:
        """Remember the request and answer it; a transport's handler."""
        self.requests.append(request)
        path, query = request.url.path, request.url.params
        command = request.headers.get("x-goog-upload-command")
        if command == "start":
            url = f"{self._upload_host}{path}?upload_id=u-1&upload_protocol=resumable"
            return Response(200, headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"})
        if command == "upload":
            return Response(200, headers={"X-Goog-Upload-Status": "active"})
        if command == "upload, finalize":
            return Response(200, headers={"X-Goog-Upload-Status": "final"}, json={"file": {"name": "files/gb-1"}})
        if path.endswith(":download"):
            return Response(200, stream=_Body(b'{"key":"1"}\n'))
        if request.method == "GET" and path.endswith(("/batches", "/files")) and "pageToken" not in query:
            kind = "operations" if path.endswith("/batches") else "files"
            return Response(200, json={kind: [{"name": f"{kind}/1"}], "nextPageToken": "page/2="})
        if request.method == "GET" and path.endswith(("/batches", "/files")):
            kind = "operations" if path.endswith("/batches") else "files"
            return Response(200, json={kind: [{"name": f"{kind}/2"}]})
        name = "/".join(path.split("/")[-2:]) if request.method == "GET" else "batches/b-1"
        return Response(200, json={"name": name, "metadata": {"state": "BATCH_STATE_PENDING"}})
