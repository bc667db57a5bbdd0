"""What makes two rows the same: their key, request, method, model and base URL. The API key is not part of it.

A request counts as JSON: spaces and escapes do not matter. The order of fields does, because the order of the fields of
a schema changes answers. ``serviceTier`` does not count: it changes the price, not the answer. A request that names a
resource of the project (a file, a cache, a file search store) is the same only for the same API key, because the name
may mean something else in another project. An attachment counts by its content, which is the same in every project.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.validation.file_uri import is_placeholder
from gemini_batch.validation.request_traits import file_id_of, references_of

if TYPE_CHECKING:
    from gemini_batch.catalog import Method

_TIERS = ("serviceTier", "service_tier")
_STORES = ("fileSearchStoreNames", "file_search_store_names")
#: One of these stands in every line whose answer may depend on more than the line and the model.
_HINTS = tuple(
    name.encode()
    for camel, snake in (
        ("fileUri", "file_uri"),
        ("cachedContent", "cached_content"),
        ("fileSearch", "file_search"),
        ("googleSearch", "google_search"),
        ("urlContext", "url_context"),
        ("googleMaps", "google_maps"),
        ("enterpriseWebSearch", "enterprise_web_search"),
        ("serviceTier", "service_tier"),
    )
    for name in (camel, snake)
)
#: The bytes of a fingerprint.
SIZE = 16
#: Fields of a request that hold none of these names, except those of files. Most requests have no other field, and
#: their lines need not be searched for each name.
_PLAIN = frozenset(
    {
        *("contents", "content", "generationConfig", "generation_config"),
        *("systemInstruction", "system_instruction", "safetySettings", "safety_settings"),
    }
)
#: Tools whose answers come from a world that changes.
_OUTSIDE = frozenset(
    {
        *(
            "googleSearch",
            "google_search",
            "googleSearchRetrieval",
            "google_search_retrieval",
            "googleMaps",
            "google_maps",
        ),
        *("urlContext", "url_context", "enterpriseWebSearch", "enterprise_web_search"),
    }
)


class _Line(msgspec.Struct):
    key: str
    request: msgspec.Raw


_line = msgspec.json.Decoder(_Line).decode
_value = msgspec.json.Decoder().decode
_json = msgspec.json.Encoder().encode


class Marks(NamedTuple):
    """What a row is recognised by: all of it, and its ``body``, which leaves out the key (64 bits, signed).

    ``outside``: the answer depends on a search, on pages of the web or on files elsewhere. ``owned``: the request names
    a resource of the project.
    """

    fingerprint: bytes
    body: int
    outside: bool
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """For whom rows are recognised: the base URL that answers (or ``offline``), and a fingerprint of the API key."""

    backend: str
    key_fingerprint: str
    model: str = ""

    def of(self, model: str) -> Origin:
        """The same for another model."""
        return replace(self, model=model)

    def marks(self, line: bytes, method: Method) -> Marks:
        """The marks of one valid request line."""
        row = _line(line)
        return self.marks_of(row.key, _value(row.request), method, line)

    def marks_of(self, key: str, request: dict[str, Any], method: Method, line: bytes) -> Marks:
        """The same for a request that is decoded; ``line`` is its line, or all of it in which names can stand."""
        outside, owned, ours = False, False, ""
        if (b"file" in line or not _PLAIN.issuperset(request)) and any(hint in line for hint in _HINTS):
            request = {name: value for name, value in request.items() if name not in _TIERS}
            outside, owned = _ties(request)
            ours = self.key_fingerprint if owned else ""
        body = hashlib.blake2b(
            _json(request), digest_size=SIZE, key=_kind(method, self.model, self.backend, ours)
        ).digest()
        whole = hashlib.blake2b(key.encode(), digest_size=SIZE, key=body).digest()
        return Marks(whole, int.from_bytes(body[:8], "big", signed=True), outside, owned)


@functools.lru_cache(maxsize=64)
def _kind(*parts: str) -> bytes:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=SIZE).digest()


def same_body(one: bytes, other: bytes) -> bool:
    """Whether two request lines ask for the same under different keys."""
    return _json(_value(_line(one).request)) == _json(_value(_line(other).request))


def _ties(request: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a request depends on the world outside, and whether it names a resource of the project."""
    names = [name for name in references_of(request) if not is_placeholder(name)]
    owned = any(file_id_of(name) is not None or not name.startswith(("http:", "https:", "gs:")) for name in names)
    outside = any(file_id_of(name) is None and name.startswith(("http:", "https:", "gs:")) for name in names)
    waiting = [request]
    while waiting:
        match waiting.pop():
            case dict() as inner:
                outside = outside or not _OUTSIDE.isdisjoint(inner)
                owned = owned or any(inner.get(name) for name in _STORES)
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
            case _:
                pass
    return outside, owned
