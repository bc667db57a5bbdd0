"""Every field that the SDK lets through to the Developer API is one that the emulator takes, or the page lists it.

One request is made for each field of the SDK's types, and for each word of their enums, and sent as the SDK sends it.
What the SDK itself refuses for this API does not count.
"""

from __future__ import annotations

import collections.abc
import enum
import json
import re
import types as python_types
import typing
import warnings
from typing import Any
from unittest import mock

import pydantic
import pytest

from conformance import page
from gemini_batch.protocol.reading import Reader
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line
from protocol.made_lines import MODELS
from protocol.test_differential import refusal

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

genai = pytest.importorskip("google.genai")

#: The way to a field: (field, the SDK's type that has it), outermost first.
Way = tuple[tuple[str, str], ...]

_DEEPEST = 8
_PLAIN: dict[Any, Any] = {bool: True, int: 1, float: 1.0, str: "x", bytes: b"x", Any: {"a": 1}}
#: Strings that are words of an enum, or durations, though the SDK does not say so.
_DURATIONS = ("start_offset", "end_offset", "timeout", "sse_read_timeout")
_WORDS = {"response_modalities": "TEXT", "task_type": "CLUSTERING", **dict.fromkeys(_DURATIONS, "3s")}
_UNKNOWN = re.compile(r'Unknown name "(\w+)"')
_WRONG = re.compile(r"Invalid value at '.*' \(([\w.]+)\), \"(\w+)\"")


class Sent(Exception):
    """What the SDK was about to send."""


def samples(wanted: Any, way: Way) -> Iterator[tuple[Way, Any]]:
    """Values of a type, each with one more field set than none, and the way to that field."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, python_types.UnionType):
        for one in inner:
            yield from samples(one, way)
    elif origin in (list, collections.abc.Sequence):
        yield from ((found, [value]) for found, value in samples(inner[0], way))
    elif origin is dict:
        yield from ((found, {"a": value}) for found, value in samples(inner[1], way))
    elif wanted in _PLAIN:
        yield way, _WORDS.get(way[-1][0], _PLAIN[wanted]) if way else _PLAIN[wanted]
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        yield from ((way, member) for member in wanted)
    elif isinstance(wanted, type) and issubclass(wanted, pydantic.BaseModel):
        name = wanted.__name__
        if len(way) > _DEEPEST or sum(owner == name for _, owner in way) > 1:
            return
        yield way, {}
        for field, about in wanted.model_fields.items():
            inside = samples(about.annotation, (*way, (field, name)))
            yield from ((found, {field: value}) for found, value in inside)


def sent(client: Any, method: str, **arguments: Any) -> Any:
    """The body of a call, None where the SDK refuses to send it."""

    def catch(_method: str, _path: str, body: dict[str, Any], _options: Any = None) -> None:
        raise Sent(json.dumps({name: value for name, value in body.items() if not name.startswith("_")}))

    with mock.patch.object(client._api_client, "request", catch), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            getattr(client.batches, method)(**arguments)
        except Sent as body:
            return json.loads(str(body))
        except ValueError:
            return None
    raise AssertionError("nothing was sent")


def unknown(message: str, body: Any, way: Way) -> Iterator[str]:
    """What of a body the emulator does not take: ``Type.field``, ``Enum.WORD``."""
    reader = Reader()
    reader.read(message, body)
    for one in reader.violations:
        if found := _UNKNOWN.search(one.described):
            name = re.sub(r"_(\w)", lambda match: match[1].upper(), found[1])
            ways = {re.sub(r"_(\w)", lambda match: match[1].upper(), field): owner for field, owner in way}
            yield f"{ways[name]}.{name}"
        else:
            wrong = _WRONG.search(one.described)
            assert wrong, one.described
            yield f"{wrong[1]}.{wrong[2]}"


@pytest.fixture(scope="module")
def bodies() -> list[tuple[str, Any, Way]]:
    """Every body that the SDK sends, with its message and the way to the field that it is about."""
    types, client = genai.types, genai.Client(api_key="a-key")
    generation, embedding = "BatchGenerateContentRequest", "AsyncBatchEmbedContentRequest"
    found: list[tuple[str, Any, Way]] = []
    for way, config in samples(types.GenerateContentConfig, ()):
        request = {"contents": [{"parts": [{"text": "x"}]}], "config": config}
        found.append((generation, sent(client, "create", model="gemini-3.8-flash", src=[request]), way))
    for way, content in samples(types.Content, ()):
        request = {"contents": [content]}
        found.append((generation, sent(client, "create", model="gemini-3.8-flash", src=[request]), way))
    for way, config in samples(types.EmbedContentConfig, ()):
        source = {"inlined_requests": {"contents": ["x"], "config": config}}
        body = sent(client, "create_embeddings", model="gemini-embedding-001", src=source)
        found.append((embedding, body, way))
    client.close()
    return [one for one in found if one[1] is not None]


def test_every_field_of_a_request(bodies: list[tuple[str, Any, Way]]) -> None:
    """Of contents and configuration, for generation and embeddings."""
    found: set[str] = set()
    for message, body, way in bodies:
        found.update(unknown(message, body, way))
    assert len(bodies) > 800
    assert found == {row[0].strip("`") for row in page.table("Fields that only the client knows")}


def test_validation_and_emulator_agree_on_what_the_sdk_sends(bodies: list[tuple[str, Any, Way]]) -> None:
    """As lines of a file, for each model with rules of its own: what validation passes, the emulator answers."""
    passed = 0
    for message, body, way in bodies:
        for item in body["batch"]["inputConfig"]["requests"]["requests"]:
            data = json.dumps({"key": "a", "request": item["request"]}).encode()
            for model in MODELS["EmbedContentRequest" if "Embed" in message else "GenerateContentRequest"]:
                found = check_line(data, 1, Terms(model))
                if isinstance(found, Checked):
                    passed += 1
                    assert refusal(data, found.method, model) is None, (way, data)
    assert passed > 1000
