"""The field tables, against the API's published schema where it is at hand, and against themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gemini_batch.emulator.messages.field_tables import enums, messages, snake

SCHEMA = Path(__file__).parents[4] / "shared/reference/generativelanguage.v1beta.openapi.json"
#: Messages that the schema calls something else.
RENAMED = {"PartMediaResolution": "V1mainMediaResolution"}
#: Newer than the schema, or older and not in it.
NOT_IN_SCHEMA = {
    "WebhookConfig": None,
    "GenerateContentBatch": {"webhookConfig"},
    "EmbedContentBatch": {"webhookConfig"},
    "BatchGenerateContentRequest": {"model"},
    "AsyncBatchEmbedContentRequest": {"model"},
    "BatchEmbedContentsRequest": {"model"},
    "CountTokensRequest": {"model"},
}


def schemas() -> dict[str, Any]:
    if not SCHEMA.exists():
        pytest.skip("the published schema is not at hand")
    found: dict[str, Any] = json.loads(SCHEMA.read_bytes())["components"]["schemas"]
    return found


def test_every_type_is_known() -> None:
    """A field's type is a code, a message or an enum; every message and enum is used or is an entrance."""
    used = {field.type for message in messages().values() for field in message.fields}
    assert used - set("sybilfvo") <= set(messages()) | set(enums())
    assert set(enums()) <= used


def test_both_spellings_find_a_field() -> None:
    """And no field's proto spelling is another's."""
    for message in messages().values():
        for field in message.fields:
            assert message.lookup[field.name] is message.lookup[snake(field.name)] is field


@pytest.mark.parametrize("name", [name for name in messages() if NOT_IN_SCHEMA.get(name, ()) is not None])
def test_fields_are_those_of_the_published_schema(name: str) -> None:
    """Names, lists and types."""
    known = schemas()
    theirs = known[RENAMED.get(name, name)].get("properties", {})
    ours = {field.name: field for field in messages()[name].fields}
    assert set(ours) - (NOT_IN_SCHEMA.get(name) or set()) == set(theirs)
    for field_name, published in theirs.items():
        field = ours[field_name]
        assert (field.shape == "list") == (published.get("type") == "array"), field_name
        inner = published.get("items", published)
        reference = inner.get("$ref") or (inner.get("allOf") or [{}])[0].get("$ref")
        if field.type in messages():
            wanted = reference or published["additionalProperties"]["$ref"]
            assert wanted.endswith("/" + RENAMED.get(field.type, field.type)), field_name
        elif field.type in enums():
            assert tuple(inner["enum"]) == enums()[field.type], field_name
