"""What follows an error's message is a sentence of its own, however the message ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gemini_batch
from gemini_batch.errors import ServiceError

SOURCES = sorted(Path(gemini_batch.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("The network is down", "The network is down. Still waiting."),
        ("The network is down.", "The network is down. Still waiting."),
        ("What now?", "What now? Still waiting."),
        ("No!", "No! Still waiting."),
        ("Too long…", "Too long… Still waiting."),
        ("code 13)", "code 13). Still waiting."),
    ],
)
def test_a_sentence_after_a_message(message: str, expected: str) -> None:
    assert ServiceError(message).then("Still waiting.") == expected
    assert str(ServiceError(message, next="Still waiting.")) == expected


def test_nothing_runs_into_a_message() -> None:
    """No text puts a sentence behind a message without asking how the message ends."""
    texts = {path: path.read_text("utf-8") for path in SOURCES}
    assert len(texts) > 100
    run_on = re.compile(r"""(?:error|doubt|problem)\.message\} ["']?[A-Z].*""")
    assert {path: found for path, text in texts.items() if (found := run_on.findall(text))} == {}
