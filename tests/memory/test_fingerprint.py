"""Which lines are searched for names that tie a request to a project or to the world: none is overlooked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini_batch.catalog import Method
from gemini_batch.memory import fingerprint
from gemini_batch.memory.fingerprint import Origin

_TEXT = [{"parts": [{"text": "What is in the file? fileUri, googleSearch, serviceTier"}]}]
_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
TIED: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "text that names fields": ({"contents": _TEXT}, False, False),
    "our file": ({"contents": [{"parts": [{"fileData": {"fileUri": _FILE}}]}]}, False, True),
    "our file, in snake case": ({"contents": [{"parts": [{"file_data": {"file_uri": _FILE}}]}]}, False, True),
    "our file for the system": (
        {"contents": _TEXT, "systemInstruction": {"parts": [{"fileData": {"fileUri": _FILE}}]}}, False, True,
    ),
    "a file in the content of an embedding": ({"content": {"parts": [{"fileData": {"fileUri": _FILE}}]}}, False, True),
    "a file elsewhere": ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/f"}}]}]}, True, False),
    "a cache": ({"contents": _TEXT, "cachedContent": "cachedContents/a"}, False, True),
    "a cache, in snake case": ({"contents": _TEXT, "cached_content": "cachedContents/a"}, False, True),
    "a store": ({"contents": _TEXT, "tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}]}, False, True),
    **{
        name: ({"contents": _TEXT, "tools": [{name: {}}]}, True, False)
        for name in ("googleSearch", "google_search", "urlContext", "url_context", "googleMaps", "google_maps",
                     "enterpriseWebSearch", "enterprise_web_search")
    },
}  # fmt: skip


@pytest.mark.parametrize(("request_", "outside", "owned"), TIED.values(), ids=TIED.keys())
def test_what_ties_a_request(request_: dict[str, Any], outside: bool, owned: bool) -> None:
    line = msgspec.json.encode({"key": "a", "request": request_})
    one, other = (Origin("https://x", key, "m").marks(line, Method.GENERATE) for key in ("one", "other"))

    assert (one.outside, one.fingerprint != other.fingerprint) == (outside, owned)


@pytest.mark.parametrize("tier", ["serviceTier", "service_tier"])
def test_the_tier_does_not_count(tier: str) -> None:
    origin = Origin("https://x", "one", "m")
    plain, tiered = (
        msgspec.json.encode({"key": "a", "request": {"contents": [], **more}}) for more in ({}, {tier: "flex"})
    )

    assert origin.marks(plain, Method.GENERATE) == origin.marks(tiered, Method.GENERATE)


def test_a_plain_request_has_no_name_that_is_searched_for() -> None:
    """So leaving out the search changes nothing; the names of files are looked for in every line."""
    names = {hint.decode() for hint in fingerprint._HINTS}

    assert not {name for name in names if name in fingerprint._PLAIN}
