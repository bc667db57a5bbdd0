"""What ``validate --fix`` writes: valid and accepted by the emulator, or reported; and the same texts and numbers.

A file is made of good requests, each in one of the forms in which other tools and people write it, separated by what
such files are separated by.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_batch.catalog import Method
from gemini_batch.commands.fixing import Correction, write_copy
from gemini_batch.commands.validate import validate
from gemini_batch.emulator.engine import lines
from gemini_batch.errors import UsageError
from gemini_batch.protocol.spelling import camel
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.fixing import exact
from gemini_batch.validation.fixing.fixers import fix_lines
from gemini_batch.validation.validate import Checked, check_line
from property.test_request_files import pieces
from protocol.made_lines import Maker
from protocol.test_differential import refusal

Form = Callable[[str, str, dict[str, Any]], Any]

texts = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() != "") | st.sampled_from(
    ['"quoted" \\ \u2028\u2029\u0085', "{}[],:\n\\n", "=1+1", "größe 😀", "{{ column }}", "data:x", "[line 1]"]
)
keys = st.text(min_size=1, max_size=6)
settings = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.5, 1, 1.0]),
        "seed": st.integers(0, 2**31 - 1),
        "topP": st.sampled_from([0.1, 0.95]),
        "maxOutputTokens": st.integers(1, 8192),
    },
)


def contents(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "parts": [{"text": text}]}]


def snake(config: dict[str, Any]) -> dict[str, Any]:
    names = {"topP": "top_p", "maxOutputTokens": "max_output_tokens"}
    return {names.get(name, name): value for name, value in config.items()}


def chat(text: str, config: dict[str, Any]) -> dict[str, Any]:
    names = {"topP": "top_p", "maxOutputTokens": "max_tokens"}
    messages = [{"role": "system", "content": f"S {text}"}, {"role": "user", "content": text}]
    return {"messages": messages, **{names.get(name, name): value for name, value in config.items()}}


#: Every form that is fixed with certainty; from a key, a text and settings.
FORMS: dict[str, Form] = {
    "good": lambda key, text, config: {"key": key, "request": {"contents": contents(text), "generationConfig": config}},
    "snake": lambda key, text, config: {
        "key": key,
        "request": {"contents": contents(text), "generation_config": snake(config)},
    },
    "id": lambda key, text, config: {"id": key, "request": {"contents": contents(text), "generationConfig": config}},
    "bare": lambda key, text, config: {"key": key, "contents": contents(text), **config},
    "flat": lambda key, text, config: {"key": key, "request": {"contents": text, **snake(config)}},
    "beside": lambda key, text, config: {"key": key, "request": {"contents": [text]}, **config},
    "config": lambda key, text, config: {
        "key": key,
        "request": {"contents": contents(text), "config": {"http_options": None, **snake(config)}},
    },
    "dump": lambda key, text, config: {
        "metadata": {"key": key},
        "model": None,
        "contents": [{"parts": [{"text": text, "inline_data": None}], "role": "user"}],
        "config": {"top_k": None, "system_instruction": f"S {text}", **snake(config)},
    },
    "openai": lambda key, text, config: {"custom_id": key, "method": "POST", "body": chat(text, config)},
    "messages": lambda key, text, config: {"id": key, **chat(text, config)},
    "roles": lambda key, text, config: {
        "key": key,
        "request": {
            "contents": [
                {"role": "system", "parts": [{"text": f"S {text}"}]},
                *contents(text),
                {"role": "Assistant", "parts": [text]},
                {"role": "human", "parts": {"text": text}},
            ],
            "generationConfig": config,
        },
    },
    "rest": lambda key, text, config: {
        "batch": {
            "display_name": "x",
            "input_config": {
                "requests": {
                    "requests": [
                        {"request": {"contents": contents(text), "generationConfig": config}, "metadata": {"key": key}}
                    ]
                }
            },
        }
    },
    "twice": lambda key, text, config: json.dumps(
        {"key": key, "request": {"contents": contents(text), "generationConfig": config}}
    ),
    "misspelt": lambda key, text, config: {
        "key": key,
        "request": {"Contents": contents(text), "generation-config": {"Temperature": 0.25, "top_K": 3}},
    },
    "schema": lambda key, text, config: {
        "key": key,
        "request": {
            "contents": contents(text),
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": {
                    "$defs": {"T": {"type": "string", "description": text}},
                    "type": "object",
                    "properties": {"t": {"$ref": "#/$defs/T"}},
                    "additionalProperties": False,
                },
            },
        },
    },
    "embedding dimensions": lambda key, text, config: {"key": key, "content": text, "dimensions": 256},
}

forms = st.sampled_from([name for name in FORMS if "embedding" not in name])
requests = st.tuples(forms, keys, texts, settings)
joints = st.sampled_from([b"\n", b"\r\n", b"\n\n", b",\n", b"\\n", b"", b"\n\xef\xbb\xbf", b"\n# note\n", b" \n"])


def fixed(data: bytes, **options: Any) -> tuple[bytes, Correction, bool] | UsageError:
    """The copy, the changes, and whether the copy is valid. The original stays as it is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, output, scratch = folder / "in.jsonl", folder / "out.jsonl", folder / "scratch"
        scratch.mkdir()
        source.write_bytes(data)
        how: dict[str, Any] = {"key_from": None, "key_duplicates": "error", **options}
        try:
            made = write_copy(source, output, scratch, terms=Terms(), force=False, emit=lambda _: None, **how)
        except UsageError as error:
            assert not output.exists()
            return error
        finally:
            assert source.read_bytes() == data
        return output.read_bytes(), made, _is_accepted(output)


def _is_accepted(copy: Path) -> bool:
    """Whether ``validate`` passes the copy; then the emulator takes the file, too."""
    try:
        found = asyncio.run(validate(copy))
    except UsageError:
        return False
    if found.valid:
        kind: Any = "embed" if found.method is Method.EMBED else "generate"
        checked = lines.check(kind, io.BytesIO(copy.read_bytes()), model="")
        assert (checked.problems, checked.rows) == ([], found.requests)
    return found.valid


def again(copy: bytes) -> None:
    """A copy that is fixed again is the same file."""
    found = fixed(copy)
    if isinstance(found, UsageError) or copy.startswith(b"["):
        return  # its first line, which is broken, looks like something else
    assert found[0] == copy
    assert found[1].changes == []


def said(value: Any) -> list[str]:
    """All texts that a line says, in its order."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in ([inner] if name == "text" else said(inner))]
    return [text for inner in value for text in said(inner)] if isinstance(value, list) else []


@given(st.lists(st.tuples(requests, joints), min_size=1, max_size=5), st.booleans())
@example(
    [((name, "k", "Hi", {"temperature": 0.5, "seed": 7}), b"\n") for name in FORMS if "embedding" not in name], False
)
def test_every_form_becomes_a_request(
    made: list[tuple[tuple[str, str, str, dict[str, Any]], bytes]], array: bool
) -> None:
    """Each request once, in its place, with its key, its text and its settings; valid, and accepted by the emulator."""
    rows = [exact.encode(FORMS[form](key, text, config)) for (form, key, text, config), _ in made]
    data = b"".join(row + joint for row, (_, joint) in zip(rows, made, strict=True))
    if array:
        data = b"[" + b",\n".join(rows) + b"]"

    found = fixed(data, key_duplicates="number")

    assert not isinstance(found, UsageError), found
    copy, _, valid = found
    assert valid, copy
    lines = copy.removesuffix(b"\n").split(b"\n")
    assert len(lines) == len(made)
    taken = set()
    for data, ((form, key, text, config), _) in zip(lines, made, strict=True):
        line = json.loads(data)
        assert line["key"] == key or key in taken
        taken.add(line["key"])
        assert {one.removeprefix("S ") for one in said(line["request"])} == {text}
        if form not in ("misspelt", "schema"):
            settled = line["request"].get("generationConfig") or line["request"].get("generation_config") or {}
            assert {camel(name): value for name, value in settled.items()} == config
        assert refusal(data, Method.GENERATE, "") is None
    again(copy)


@given(st.lists(pieces, max_size=6).map(b"\n".join))
@example(b'[{"key": "a", "request": {"contents": "Hi"}}')
@example(b'{"key":"a","request":{"contents":[{"parts":[{"text":"x"}]}],"x":-0.0}}\n{"request":{}}')
def test_any_bytes(data: bytes) -> None:
    """A complete copy or an error; what is valid is not touched; what is called valid is; again changes nothing."""
    found = fixed(data)
    if isinstance(found, UsageError):
        assert found.exit_code == 2
        return
    copy, _, valid = found
    lines = copy.removesuffix(b"\n").split(b"\n")
    if not data.lstrip(b"\xef\xbb\xbf \n\r\t").startswith(b"["):
        for line in data.split(b"\n"):
            checked = check_line(line, 1)
            if isinstance(checked, Checked) and not checked.problems:
                assert line.strip(b" \t\r") in lines
    if valid:
        for line in lines:
            checked = check_line(line, 1)
            assert isinstance(checked, Checked)
            assert refusal(line, checked.method, "") is None
    again(copy)


@given(
    st.lists(st.tuples(keys, texts), min_size=1, max_size=5),
    st.sampled_from(["note.id", "request.labels.row"]),
    st.booleans(),
)
def test_keys_from_a_path(rows: list[tuple[str, str]], path: str, first: bool) -> None:
    """Lines that keep their keys elsewhere: as they are there, with a number or, by choice, the first one of each."""
    made: list[dict[str, Any]] = []
    for key, text in rows:
        top, *middle, name = path.split(".")
        line: dict[str, Any] = {"request": {"contents": contents(text)}}
        place = line.setdefault(top, {})
        for inner in middle:
            place = place.setdefault(inner, {})
        place[name] = key
        made.append(line)

    found = fixed(
        b"".join(exact.encode(line) + b"\n" for line in made),
        key_from=path,
        key_duplicates="first" if first else "number",
    )

    assert not isinstance(found, UsageError), found
    assert found[2], found[0]
    copy = [json.loads(line) for line in found[0].splitlines()]
    assert len({line["key"] for line in copy}) == len(copy)
    if first:
        assert {line["key"]: said(line["request"])[0] for line in copy} == dict(reversed(rows))
    else:
        assert [said(line["request"]) for line in copy] == [[text] for _, text in rows]
        assert all(line["key"].startswith(key) for line, (key, _) in zip(copy, rows, strict=True))


@given(keys, texts)
def test_embeddings(key: str, text: str) -> None:
    found = fixed(exact.encode(FORMS["embedding dimensions"](key, text, {})))
    assert not isinstance(found, UsageError)
    assert json.loads(found[0]) == {
        "key": key,
        "request": {"content": {"parts": [{"text": text}]}, "outputDimensionality": 256},
    }
    assert found[2]
    assert refusal(found[0], Method.EMBED, "") is None


numbers = (
    st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, places=7)
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(numbers, max_size=5), texts)
def test_numbers_keep_their_digits(found: list[Any], text: str) -> None:
    """Of any length, as they are written, in a line that is changed next to them."""
    written = ",".join(str(number).replace("E", "e") for number in found)
    contents_of = json.dumps(contents(text), ensure_ascii=False)
    data = f'{{"id":"a","request":{{"contents":{contents_of}}},"numbers":[{written}]}}'.encode()
    made = fixed(data)
    assert not isinstance(made, UsageError)
    kept = json.loads(made[0], parse_float=str, parse_int=str)["numbers"]
    same = json.loads(data, parse_float=str, parse_int=str)["numbers"]
    assert [number.lower().replace("e+", "e") for number in kept] == [
        str(exact.decode(number)).lower().replace("e+", "e") for number in same
    ]
    assert [float(number) for number in kept] == [float(number) for number in same]


@pytest.mark.parametrize("seed", range(3))
def test_lines_of_all_fields(seed: int) -> None:
    """Lines made from the protocol's tables, half of them spoiled somewhere: each change is named, nothing gets worse,
    a second time nothing changes, and what is valid then is accepted by the emulator.
    """
    maker = Maker(random.Random(f"{seed} fixed"))
    healed = 0
    for _ in range(150):
        data, _ = maker.line()
        value, before = exact.decode(data), check_line(data, 1)
        (found,) = fix_lines(value)
        assert (found.value != value) == bool(found.changes), (data, found.changes)
        if isinstance(before, Checked) and not before.problems:
            assert found.changes == (), data
        (same,) = fix_lines(found.value)
        assert (same.value, same.changes) == (found.value, ()), data
        after = check_line(made := exact.encode(found.value), 1)
        if isinstance(after, Checked):
            healed += not isinstance(before, Checked)
            assert refusal(made, after.method, "") is None, made
        else:
            assert not isinstance(before, Checked), (data, found.changes)
    assert healed
