"""The API key in a line of raw answers: removed wherever the service speaks, kept in what a model or the user wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini_batch.answers.redaction import redacted
from gemini_batch.safe_text import Redactor

SECRET = "AIza" + "s3cr3t" * 6

#: Places of the service's own words, also under names that hold the user's or a model's words elsewhere.
SERVICE = [
    "error.message",
    "error.content",
    "error.details.0.metadata.key",
    "metadata.note",
    "metadata.content",
    "response.promptFeedback.content",
    "response.promptFeedback.key",
    "response.urlContextMetadata.key",
    "response.usageMetadata.embedding",
    "response.candidates.0.finishMessage",
    "response.candidates.0.key",
    "response.candidates.0.urlContextMetadata.urlMetadata.0.content",
    "response.key",
    "response.custom_id",
    "response.body.error.message",
    "content",
    "embedding",
]
#: Places of the user's key, and of what a model has written.
KEPT = [
    "key",
    "metadata.key",
    "response.candidates.0.content.parts.0.text",
    "response.candidates.0.content.parts.0.functionCall.args.key",
    "response.embedding.note",
    "response.embeddings.0.note",
    "custom_id",
    "response.body.choices.0.message.content",
    "response.body.data.0.embedding.note",
]


def line_with(place: str) -> dict[str, Any]:
    """A line with the secret in one place; numbers in the place are lists of one."""
    value: Any = f"before {SECRET} after"
    for name in reversed(place.split(".")):
        value = [value] if name == "0" else {name: value}
    line = {"key": "a", **value}
    assert isinstance(line, dict)
    return line


@pytest.mark.parametrize("place", SERVICE)
def test_the_services_words_lose_the_key(place: str) -> None:
    clean = redacted(msgspec.json.encode(line_with(place)), Redactor(SECRET))
    assert SECRET.encode() not in clean
    assert "before … after".encode() in clean


@pytest.mark.parametrize("place", KEPT)
def test_what_a_model_or_the_user_wrote_stays_as_it_came(place: str) -> None:
    data = msgspec.json.encode(line_with(place))
    assert redacted(data, Redactor(SECRET)) == data
