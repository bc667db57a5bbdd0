"""Reads from a request's line what it asks for and about how many tokens its prompt has."""

from __future__ import annotations

import re
from typing import Any

from gemini_batch.jsonl import decode


def modalities_of(request: dict[str, Any]) -> set[str]:
    """The response modalities that a request asks for besides text: ``AUDIO``, ``IMAGE``."""
    config = request.get("generationConfig") or request.get("generation_config") or {}
    asked = config.get("responseModalities") or config.get("response_modalities") or []
    words = asked if isinstance(asked, list) else [asked]
    return {word.upper() for word in words if isinstance(word, str)}


#: The traits of embedding requests: the name of each, and the fields that show it.
TRAITS = {
    "taskType": (b"taskType", b"task_type"),
    "media": (b"inlineData", b"inline_data", b"fileData", b"file_data"),
}


def traits_of(data: bytes) -> set[str]:
    """The traits of an embedding request. Only names of fields count, not words in its text."""
    found = {trait for trait, names in TRAITS.items() if any(name in data for name in names)}
    if not found:
        return found
    names = _names(decode(data))
    return {trait for trait in found if not names.isdisjoint(name.decode() for name in TRAITS[trait])}


def _names(value: object) -> set[str]:
    names: set[str] = set()
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as inner:
                names.update(inner)
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
            case _:
                pass
    return names


#: Where the id of an uploaded file stands: in its URI, or in its name.
_FILE = re.compile(r"(?:https?://[^/?#]+/v[0-9][0-9a-z]*/)?files/([A-Za-z0-9_-]+)(?:[:?].*)?")


#: The names of the fields that refer to a file or a cache.
REFERENCES = (b"fileUri", b"file_uri", b"cachedContent", b"cached_content")


def references_of(request: dict[str, Any]) -> list[str]:
    """The URIs of files and the name of the cache that a request refers to; none where only its text names them."""
    caches = (request.get(name) for name in ("cachedContent", "cached_content"))
    found = [name for name in caches if isinstance(name, str) and name]
    waiting: list[object] = [request]
    while waiting:
        match waiting.pop():
            case dict() as inner:
                for name in ("fileData", "file_data"):
                    if isinstance(file := inner.get(name), dict):
                        found += [uri for key in ("fileUri", "file_uri") if isinstance(uri := file.get(key), str)]
                waiting.extend(reversed(inner.values()))
            case list() as inner:
                waiting.extend(reversed(inner))
            case _:
                pass
    return found


def file_id_of(uri: str) -> str | None:
    """The id of the uploaded file that a URI names; None for an address elsewhere."""
    named = _FILE.fullmatch(uri)
    return named[1] if named else None


#: Average characters in a token, and the tokens of an image or a short recording. An estimate for planning; the
#: service's own count decides.
_CHARS_A_TOKEN = 4
_MEDIA_TOKENS = 300
_BASE64 = re.compile(rb'"data"\s*:\s*"[A-Za-z0-9+/=_-]{64,}"')


def estimate_tokens(line: bytes, *, only_text: bool = False) -> int:
    """The approximate number of tokens of a request's prompt; media, in base64 or attached, do not count as text.

    ``only_text``: it is known to have no media.
    """
    if only_text:
        return max(1, len(line) // _CHARS_A_TOKEN)
    media = line.count(b'"attachment:sha256-')
    if len(line) > 512 and b'"data"' in line:
        line, inline = _BASE64.subn(b"", line)
        media += inline
    return max(1, len(line) // _CHARS_A_TOKEN) + media * _MEDIA_TOKENS
