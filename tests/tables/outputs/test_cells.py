"""From an answer to cells: what fits its column, what does not, and that nothing stops a table."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tables.outputs.cells import Filler
from gemini_batch.tables.outputs.columns import answer_columns


def filled(schema: Any, answer: Any, problem: str | None = None) -> tuple[Any, str | None]:
    """The cell of the property ``p``, and the problem. ``answer``: the property, or the whole text as bytes."""
    columns = answer_columns({"type": "object", "properties": {"p": schema}}, method="generate")
    text = answer if isinstance(answer, bytes) else json.dumps({"p": answer})
    values, keep = Filler(columns)({"verdict": "succeeded", "problem": problem}, text)
    assert keep
    assert values is not None
    return values[0], values[2]


TEXT, WHOLE, NUMBER, TRUTH = ({"type": name} for name in ("string", "integer", "number", "boolean"))
ANY: dict[str, Any] = {}
OBJECT = {"type": "object", "properties": {"n": WHOLE, "any": ANY}}


@pytest.mark.parametrize(
    ("schema", "answer", "cell"),
    [
        (TEXT, "x", "x"),
        (TEXT, None, None),
        (WHOLE, 2**63 - 1, 2**63 - 1),
        (WHOLE, 3.0, 3),
        (NUMBER, 1, 1.0),
        (NUMBER, 0.1, 0.1),
        (TRUTH, False, False),
        ({"type": "array", "items": TEXT}, ["a", None], ["a", None]),
        (OBJECT, {"n": 1, "more": 2}, {"n": 1, "any": None}),
        (OBJECT, {"any": {"x": [1.5, None]}}, {"n": None, "any": '{"x":[1.5,null]}'}),
        (ANY, [1, "a"], '[1,"a"]'),
        (ANY, "text", '"text"'),
        (
            ANY,
            b'{"p": {"x": 1234567890.12345678901234567890, "y": 1.50}}',
            '{"x":1234567890.12345678901234567890,"y":1.50}',
        ),
        (ANY, b'{"p": 123456789012345678901234567890}', "123456789012345678901234567890"),
        (ANY, b'{"p": "\\ud800"}', '"\ufffd"'),
        (ANY, b'{"p": [NaN, 1]}', "[null,1]"),
        (NUMBER, b'{"p": NaN}', None),
        (TEXT, b'{"p": "bytes"}', "bytes"),
        (TEXT, b'{"p": "first", "p": "last"}', "last"),
        (TEXT, b"no JSON", None),
        (TEXT, b"[1]", None),
        (TEXT, b"", None),
        (TEXT, b"{}", None),
        (TEXT, b"[" * 100_000, None),
        (WHOLE, b'{"p": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_what_fits(schema: Any, answer: Any, cell: Any) -> None:
    found, problem = filled(schema, answer)

    assert (found, type(found)) == (cell, type(cell))
    assert problem is None


@pytest.mark.parametrize(
    ("schema", "answer", "words"),
    [
        (TEXT, 1, "is not text"),
        (TEXT, {"a": 1}, "is not text"),
        (WHOLE, 2**63, "does not fit in 64 bits"),
        (WHOLE, -(2**63) - 1, "does not fit in 64 bits"),
        (WHOLE, 1.5, "is not a whole number"),
        (WHOLE, True, "is not a whole number"),
        (WHOLE, "1", "is not a whole number"),
        (NUMBER, 10**400, "is too large for a floating-point number"),
        (NUMBER, False, "is not a number"),
        (TRUTH, 1, "is neither true nor false"),
        ({"type": "array", "items": TEXT}, "abc", "is not a list"),
        ({"type": "array", "items": TEXT}, {"a": 1}, "is not a list"),
        ({"type": "array", "items": WHOLE}, [1, "2"], "is not a whole number"),
        (OBJECT, [1], "is not an object"),
        (OBJECT, {"n": "x"}, "is not a whole number"),
    ],
)
def test_what_does_not_fit_is_an_empty_cell_and_a_problem(schema: Any, answer: Any, words: str) -> None:
    sentence = f"The value of 'p' {words}, so its cell is empty."

    assert filled(schema, answer) == (None, sentence)
    assert filled(schema, answer, "The answer was cut off.") == (None, f"The answer was cut off. {sentence}")


@pytest.mark.parametrize(
    ("vector", "cell", "problem"),
    [
        ([1.0, 2], [1.0, 2.0], None),
        ([1.0], None, "The value of 'embedding' has 1 item instead of 2, so its cell is empty."),
        ([1.0, None], None, "The value of 'embedding' has an item that is null, so its cell is empty."),
        ([3.4028234663852886e38, -3.4028234663852886e38], [3.4028234663852886e38, -3.4028234663852886e38], None),
        ([1e-300, 5e-324], [1e-300, 5e-324], None),
        (
            [1.0, 1e39],
            None,
            "The value of 'embedding' is too large for a floating-point number, so its cell is empty.",
        ),
        ([math.nan, 1.0], None, "The value of 'embedding' is not a number, so its cell is empty."),
        (None, None, None),
    ],
)
def test_an_embedding_has_its_length(vector: Any, cell: Any, problem: str | None) -> None:
    fill = Filler(answer_columns(None, method="embed", dimensions=2))

    assert fill({"embedding": vector, "verdict": "succeeded"}) == ([cell, "succeeded", problem], True)


def test_facts_and_properties_of_the_same_name_are_not_mixed() -> None:
    columns = answer_columns({"type": "object", "properties": {"text": TEXT}}, method="generate")

    assert Filler(columns)({"text": "the whole answer", "verdict": "invalid"}, "{}").values == [None, "invalid", None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = (
    TEXT,
    WHOLE,
    NUMBER,
    TRUTH,
    ANY,
    OBJECT,
    {"type": "array", "items": NUMBER},
    {"type": "array", "items": OBJECT},
)


@given(st.sampled_from(SCHEMAS), json_values | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_answer_stops_a_table(schema: Any, answer: Any) -> None:
    filled(schema, json.dumps({"p": answer}))
    filled(schema, json.dumps(answer))
    filled(schema, answer.encode("utf-8", "surrogatepass") if isinstance(answer, str) else b"{")
