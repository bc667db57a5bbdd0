"""The page on request rules has the numbers and words of the rules."""

from __future__ import annotations

import re

import pytest

from docs.pages import ROOT, read
from gemini_batch.protocol import rules
from gemini_batch.protocol.tables import Range, messages

PAGE = read(ROOT / "docs" / "request-rules.md").split("\n## Values\n")[1].split("\n## ")[0]


def row(field: str) -> str:
    """The row about a field, without the commas in its numbers."""
    (found,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"`{field}`" in line.split("|")[1])
    return re.sub(r"(?<=\d),(?=\d)", "", found)


@pytest.mark.parametrize(
    ("message", "field"),
    [pair for pair in rules.RANGES if pair[0] in ("GenerationConfig", "ThinkingConfig", "EmbedContentRequest")],
)
def test_the_range_of_a_number(message: str, field: str) -> None:
    """Both ends, or one."""
    limits = rules.RANGES[message, field].range
    numbers = [float(number) for number in re.findall(r"(?<![\w-])-?\d+(?:\.\d+)?", row(field).split("|")[2])]
    assert numbers[:2] == [limits.low, limits.high] if limits.high < 2**31 - 1 else numbers == [limits.low]


def test_what_the_schema_states() -> None:
    """Its ranges, and how many stop sequences there can be."""
    lookup = messages()["GenerationConfig"].lookup
    assert "| 0 to 2 |" in row("temperature")
    assert lookup["temperature"].range == Range(0, 2)
    assert f"at most {lookup['stopSequences'].most}" in row("stopSequences")
    assert lookup["logprobs"].range is not None
    assert f"0 to {lookup['logprobs'].range.high:g}" in row("logprobs")


def test_words() -> None:
    """MIME types of answers, and how many categories there are."""
    assert all(f"`{one}`" in row("responseMimeType") for one in rules.RESPONSE_TYPES)
    assert len(rules.HARM_CATEGORIES) == 6
    assert "one of the six" in row("safetySettings[].category")
