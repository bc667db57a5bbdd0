"""Every official sample passes, in both spellings, with no warning but the right ones; and the emulator answers it.

``official_samples.jsonl`` has requests as Google's guides, its cookbook and its SDK's tests write them: field for
field, in other words. ``warns`` names the field of each warning that is right about a sample.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gemini_batch.protocol.spelling import snake
from gemini_batch.protocol.tables import messages
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line
from protocol.test_differential import refusal

SAMPLES = [json.loads(line) for line in Path(__file__).with_name("official_samples.jsonl").read_text().splitlines()]
MESSAGES = {"generate": "GenerateContentRequest", "embed": "EmbedContentRequest"}


def in_snake_case(value: Any, message: str) -> Any:
    """A request with all names of its fields in the other spelling; names that are the user's own stay."""
    made = {}
    for name, inner in value.items():
        field = messages()[message].lookup[name]
        if field.type not in messages():
            made[snake(name)] = inner
        elif field.shape == "map":
            made[snake(name)] = {key: in_snake_case(one, field.type) for key, one in inner.items()}
        elif isinstance(inner, list):
            made[snake(name)] = [in_snake_case(one, field.type) for one in inner]
        else:
            made[snake(name)] = in_snake_case(inner, field.type)
    return made


@pytest.mark.parametrize("spelling", ["camelCase", "snake_case"])
@pytest.mark.parametrize("sample", SAMPLES, ids=[one["name"] for one in SAMPLES])
def test_an_official_sample_passes(sample: dict[str, Any], spelling: str) -> None:
    """For its model, and without one."""
    request = sample["request"]
    if spelling == "snake_case":
        request = in_snake_case(request, MESSAGES[sample["method"]])
    data = json.dumps({"key": "a", "request": request}).encode()
    for model in ("", sample["model"]):
        found = check_line(data, 1, Terms(model))
        assert isinstance(found, Checked), found
        assert found.method == sample["method"]
        warned = [one.field for one in found.problems]
        assert warned == sample["warns"] if spelling == "camelCase" else len(warned) == len(sample["warns"])
        assert refusal(data, found.method, model) is None


def test_the_samples_cover_the_tables() -> None:
    """Nearly every field that a caller can set is in some sample."""
    used: set[str] = set()

    def note(value: Any) -> None:
        for name, inner in value.items() if isinstance(value, dict) else ():
            used.add(name)
            note(inner)
        for inner in value if isinstance(value, list) else ():
            note(inner)

    for sample in SAMPLES:
        note(sample["request"])
    for message in ("GenerateContentRequest", "GenerationConfig", "Part", "Tool", "EmbedContentRequest", "Schema"):
        missing = {field.name for field in messages()[message].fields if not field.newer} - used
        assert len(missing) <= 8, (message, missing)
