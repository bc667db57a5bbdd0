"""Proto JSON: what is accepted, what it becomes, and what is refused with which words."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.engine import lines
from gemini_batch.emulator.messages.protojson import BadBody, column, read_body
from gemini_batch.protocol.reading import Reader
from gemini_batch.protocol.spelling import snake
from gemini_batch.protocol.tables import enums, messages

REQUEST = "GenerateContentRequest"


def read(value: Any, message: str = REQUEST) -> tuple[Any, list[str]]:
    reader = Reader()
    made = reader.read(message, value)
    return made, [violation.described for violation in reader.violations]


@pytest.mark.parametrize(
    ("given_value", "canonical"),
    [
        ({"generation_config": {"top_k": 5.0}}, {"generationConfig": {"topK": 5}}),
        ({"generationConfig": {"topK": "5"}}, {"generationConfig": {"topK": 5}}),
        ({"contents": {"parts": {"text": "x"}}}, {"contents": [{"parts": [{"text": "x"}]}]}),
        ({"generationConfig": {"temperature": "0.5"}}, {"generationConfig": {"temperature": 0.5}}),
        ({"systemInstruction": None}, {}),
        (
            {"generationConfig": {"responseSchema": {"type": "object", "minItems": 3}}},
            {"generationConfig": {"responseSchema": {"type": "OBJECT", "minItems": "3"}}},
        ),
        (
            {"generation_config": {"thinking_config": {"thinkingLevel": 2}}},
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
        ),
        (
            {"generationConfig": {"response_schema": {"properties": {"some_name": {"any_of": [{"type": "STRING"}]}}}}},
            {"generationConfig": {"responseSchema": {"properties": {"some_name": {"anyOf": [{"type": "STRING"}]}}}}},
        ),
        (
            {"generationConfig": {"response_json_schema": {"min_items": 1, "x": None}}},
            {"generationConfig": {"responseJsonSchema": {"min_items": 1, "x": None}}},
        ),
        (
            {"contents": [{"parts": [{"function_call": {"name": "f", "args": {"some_arg": {"b_c": 1}}}}]}]},
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"some_arg": {"b_c": 1}}}}]}]},
        ),
    ],
)
def test_lenient_reading(given_value: Any, canonical: Any) -> None:
    """Everything that the service takes comes out in one form."""
    assert read(given_value) == (canonical, [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"thinkingConfig": {}}, 'Invalid JSON payload received. Unknown name "thinkingConfig": Cannot find field.'),
        (
            {"contents": [{"parts": [{"text": "x"}, {"txt": "y"}]}]},
            "Invalid JSON payload received. Unknown name \"txt\" at 'contents[0].parts[1]': Cannot find field.",
        ),
        ({"contents": [{"parts": [{"text": 1}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 1"),
        ({"store": "yes"}, "Invalid value at 'store' (TYPE_BOOL), \"yes\""),
        ({"generationConfig": {"topK": 5.5}}, "Invalid value at 'generation_config.top_k' (TYPE_INT32), 5.5"),
        ({"generationConfig": {"topK": 2**31}}, "Invalid value at 'generation_config.top_k' (TYPE_INT32), 2147483648"),
        ({"serviceTier": "gold"}, "Invalid value at 'service_tier' (ServiceTier), \"gold\""),
        ({"systemInstruction": "be nice"}, "Invalid value at 'system_instruction' (Content), \"be nice\""),
        (
            {"contents": [{"parts": [{"text": "x", "fileData": {}}]}]},
            "Invalid value at 'contents[0].parts[0].file_data' (oneof), oneof field 'data' is already set.",
        ),
    ],
)
def test_refusals(value: Any, message: str) -> None:
    """The place in proto spelling, then what is wrong."""
    assert read(value)[1] == [message]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b" \n", {}),
        (b"{'a': 'it\\'s \"so\"', b: [1, 2,], 'c': true,}", {"a": 'it\'s "so"', "b": [1, 2], "c": True}),
        (b'{"a": "don\'t {touch: this,}"}', {"a": "don't {touch: this,}"}),
        (b"{'a': -1.5e3, 'b': null, 'c': \"x\"}", {"a": -1500.0, "b": None, "c": "x"}),
    ],
)
def test_pseudo_json_bodies(body: bytes, value: Any) -> None:
    """Single quotes, bare names and trailing commas, as in the documentation's samples."""
    assert read_body(body) == value


@pytest.mark.parametrize("body", [b"{", b"{'a' 1}", b"\xff", b"{} {}", b"{'a': 'b}"])
def test_bodies_that_are_not_json_at_all(body: bytes) -> None:
    """Refused, however leniently read."""
    with pytest.raises(BadBody):
        read_body(body)


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ('{"key":"a","request":{"x":1}}', ("request", "x"), 23),
        ('{ "request" : { "contents" : [ {"a":"}"}, {"b": 2} ] } }', ("request", "contents", 1, "b"), 44),
        ('{"contents":{"parts":{"txt":1}}}', ("contents", 0, "parts", 0, "txt"), 23),
        ("[]", ("x",), 1),
    ],
)
def test_columns(text: str, place: tuple[str | int, ...], found: int) -> None:
    """A name's own column, counted from 1."""
    assert column(text, place) == found


values = st.deferred(lambda: requests(REQUEST))


def requests(message: str, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Requests in any accepted spelling, and now and then something that is not accepted."""
    fields: dict[str, Any] = {}
    one: st.SearchStrategy[Any]
    for field in messages()[message].fields:
        if field.type in messages():
            if depth == 0:
                continue
            one = requests(field.type, depth - 1)
        elif field.type in enums():
            words = enums()[field.type].values
            one = st.sampled_from([*words, words[-1].lower(), 1])
        else:
            one = {
                "s": st.text(max_size=3),
                "y": st.sampled_from(["AAAA", "AA", "-_A=", "A", "no!"]),
                "t": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01"]),
                "d": st.sampled_from(["3.5s", "3"]),
                "m": st.just("a,b"),
                "b": st.booleans(),
                "i": st.sampled_from([0, 7, 7.0, "7", 7.5, 2**31]),
                "l": st.sampled_from([0, 7, "7", 2**63]),
                "f": st.sampled_from([0, 0.5, "0.5", "x"]),
                "o": st.just({"some_name": None}),
                "v": st.sampled_from([None, {"some_name": [1]}, 3]),
            }[field.type]
        shaped = {"one": one, "list": st.one_of(st.lists(one, max_size=2), one), "map": st.just({})}[field.shape]
        fields[field.name] = shaped
        fields[snake(field.name)] = shaped
    fields["surprise"] = st.just(1)
    if len(fields) == 1:
        return st.just({})
    names = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: fields[name] for name in chosen}))


@given(values)
def test_both_ways_of_reading_a_line_agree(request: dict[str, Any]) -> None:
    """What the fast way accepts, the slow way accepts too, and finds it in canonical form."""
    made, problems = read(request)
    checked = lines.check("generate", io.BytesIO(json.dumps({"request": request}).encode()), model="")
    assert bool(checked.problems) == bool(problems or lines.clash(made))
    if checked.plain and not checked.problems:
        assert read(made) == (made, [])
        assert made.keys() == {key for key, value in request.items() if value is not None}


def test_what_is_canonical_stays_as_it_is() -> None:
    """Normalising twice is normalising once."""
    made, problems = read({"generation_config": {"stop_sequences": "x", "response_schema": {"max_items": 4}}})
    assert not problems
    assert read(made) == (made, [])
