"""Checks one line of a request file: whether it can be sent, and by which method.

:func:`check_line` reads the bytes of one line and returns either :class:`Checked` or everything that is wrong with the
line, errors and warnings. An error is what the service rejects or silently ignores. A warning is what can be sent but
is probably a mistake. The code that reads the file finds what concerns the file as a whole (duplicate keys, two methods
in one file).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch import jsonl
from gemini_batch.catalog import Method
from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import fields, repairs
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.embed import check_embed
from gemini_batch.validation.findings import Findings, clip, kind, pick
from gemini_batch.validation.generate import Asked, check_generate

if TYPE_CHECKING:
    from gemini_batch.errors import Problem


#: ``generate`` goes to ``batchGenerateContent``, ``embed`` to ``asyncBatchEmbedContent``.

#: No limit for keys is documented; a longer one is probably text in the wrong place.
LONG_KEY = 512

_KEY = frozenset({"key"})
_REQUEST = frozenset({"request"})
_SHAPE = '{"key": "…", "request": {"contents": [{"parts": [{"text": "…"}]}]}}'
_KEY_WORDS = ("custom_id", "customId", "id", "Key", "KEY", "recordId", "record_id")
#: Fields that have a meaning only inside a request; a `title` next to it may be the user's own.
_IN_REQUEST = (fields.GENERATE | fields.EMBED) - {"model", "title"}
_IN_CONFIG = fields.GENERATION_CONFIG | fields.both("maxTokens maxCompletionTokens thinkingBudget thinkingLevel stop")
#: Fields that were meant to have an effect and have none, whatever is next to them.
_NEVER_NOTES = frozenset({"config", "model"})
#: How a line that is not JSON begins or ends (without white space), and how to fix it. The first match is shown.
_HINTS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), fix)
    for pattern, fix in (
        (rb"\xef\xbb\xbf", "Remove the byte order mark at the start of the line; joining files leaves it there."),
        (rb"//|#", "JSONL has no comments; remove the line."),
        (rb"\{\s*\xe2\x80[\x98-\x9f]", "Use straight quotes, not typographic ones."),
        (rb"\{\s*'", "This is a printed Python dict; write it with `json.dumps(row, ensure_ascii=False)`."),
        (
            rb'"|[{}\[\]],?$',
            f"Write each object on one line: `{repairs.FIX}`.",
        ),
        (rb".*,$", "Remove the comma at the end; JSONL has no commas between lines."),
    )
)

#: Fixes that follow from the message, which is more precise than the pattern of the line.
_BETTER = (
    ("is not JSON", "NaN and Infinity are not JSON; use a number or null."),
    ("surrogate", "Write the character itself, or both halves of the surrogate pair."),
    ("not UTF-8", "Save the file as UTF-8."),
)

_NO_TERMS = Terms()

_decode = msgspec.json.Decoder().decode


class Checked(msgspec.Struct, frozen=True):
    """A line that can be sent. ``problems`` holds only warnings.

    ``expects_json``: the request asks for JSON answers. ``dimension``: the requested length of the vector, or None.
    ``schema``: the JSON Schema that answers are to satisfy, as JSON, or None. ``request``: the decoded request;
    ``settings``: what it says next to its contents, as JSON, if these are only text.
    """

    key: str
    method: Method
    expects_json: bool = False
    dimension: int | None = None
    problems: tuple[Problem, ...] = ()
    schema: bytes | None = None
    request: dict[str, Any] = {}
    settings: bytes | None = None


def check_line(data: bytes, number: int, terms: Terms = _NO_TERMS) -> Checked | tuple[Problem, ...]:
    """Check one line of a request file, without its line ending; ``number`` counts from 1.

    ``terms``: the model, whose own rules then count too, and whether only what the service certainly rejects is an
    error. Returns a tuple of problems, warnings included, if there is at least one error. Never raises.
    """
    try:
        line = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _not_json(data, number)
    found = Findings(number, prepared=terms.prepared, vertex=terms.vertex)
    if type(line) is not dict:
        _not_an_object(line, found)
        return tuple(found.problems)
    if "request" not in line and _is_another_form(line, found):
        return tuple(found.problems)
    key = line.get("key")
    if type(key) is not str or not key or len(key) > LONG_KEY:
        _check_key(line, key, found)
    if len(line) != 2 or "request" not in line or "key" not in line:
        _check_line_names(line, found)
    request = line.get("request")
    if type(request) is not dict:
        _check_request_kind(line, request, found)
        return tuple(found.problems)
    method = Method.EMBED if _is_embedding(request) else Method.GENERATE
    asked, dimension = Asked(), None
    try:
        if method is Method.EMBED:
            dimension = check_embed(request, found, terms)
        else:
            asked = check_generate(request, found, terms)
    except RecursionError:
        found.error("request", "The request is nested too deeply.", "Flatten it.")
    if found.errors or type(key) is not str:
        return tuple(found.problems)
    return Checked(
        key, method, asked.expects_json, dimension, tuple(found.problems), asked.schema, request, asked.settings
    )


def _not_json(data: bytes, number: int) -> tuple[Problem, ...]:
    found = Findings(number)
    start = data.strip()
    if not start:
        found.error(None, "The line is empty.", "Remove it.")
        return tuple(found.problems)
    message = "Not valid JSON."
    try:
        jsonl.decode(data)
    except ValueError as bad:
        column = getattr(bad, "column", None)
        message = f"Not valid JSON{'' if column is None else f' at column {column}'}: {bad}."
    usual = f"Write one JSON object on the line: {_SHAPE}"
    if "more text after the first" in message:
        usual = f"Write each object on its own line: `{repairs.FIX}`."
    fix = next((fix for pattern, fix in _HINTS if pattern.match(start)), usual)
    for word, better in _BETTER:
        if word in message:
            fix = better
    found.error(None, message, fix)
    return tuple(found.problems)


def _not_an_object(line: object, found: Findings) -> None:
    fix = f"Write {_SHAPE}"
    if type(line) is list:
        fix = "Write each object of the list on its own line, without brackets and commas."
    elif type(line) is str and line.lstrip().startswith("{"):
        fix = "The JSON was encoded twice; write the object itself, not a string that contains it."
    found.error(None, f"The line is {kind(line)}; it must be an object.", fix)


def _is_another_form(line: dict[str, object], found: Findings) -> bool:
    """Explain, in one finding, a line that as a whole is a request, or the body of a REST call."""
    body = line.get("batch", line)
    source = pick(body, "inputConfig", "input_config")[1] if type(body) is dict else None
    if type(source) is dict and "requests" in source:
        found.error(
            None,
            "The line is the body of a call that creates a job, with all its requests in it.",
            f"Make request lines of it: `{repairs.FIX}`.",
        )
        return True
    loose = next((name for name in ("contents", "content") if line.get(name) is not None), None)
    if loose is None or not (line.keys() - {"key"} <= fields.GENERATE | fields.EMBED):
        return False
    found.error(
        loose,
        f"`{loose}` is not inside `request`; the line itself is a request.",
        f'Wrap it: `{{"key": "…", "request": {{"{loose}": …}}}}`. For a whole file: `{repairs.FIX}`.',
    )
    return True


def _check_key(line: dict[str, object], key: object, found: Findings) -> None:
    if type(key) is str and key:
        found.warn(
            "key",
            f"The key is {len(key)} characters long; keys of this length are untested.",
            "Use a short key: it only names the row.",
        )
    elif type(key) is str:
        found.error("key", "The key is an empty string.", "Give each line a unique key; answers are joined by it.")
    elif type(key) is int or type(key) is float:
        found.error(
            "key", "The key is a number; it must be a string.", f'Write it in quotes: `"key": "{str(key)[:40]}"`.'
        )
    elif key is not None:
        found.error("key", f"The key is {kind(key)}; it must be a string.", 'Write, for example, `"key": "row-1"`.')
    else:
        other = next((name for name in _KEY_WORDS if name in line), None)
        meta = line.get("metadata")
        if other is not None:
            found.error(other, f"The line has `{other}` instead of `key`.", f"Rename `{other}` to `key`.")
        elif type(meta) is dict and "key" in meta:
            found.error("key", "The key is in `metadata`.", "In a request file, write `key` next to `request`.")
        else:
            fix = 'Give each line a unique `"key"`; answers are joined by it.'
            if type(line.get("request")) is dict:
                fix += f" To number the lines: `{repairs.FIX}`."
            found.error("key", "The line has no `key`.", fix)


def _check_line_names(line: dict[str, object], found: Findings) -> None:
    request = line.get("request")
    whole = type(request) is dict and ("contents" in request or "content" in request)
    for name in line:
        if name in fields.LINE or (name in _KEY_WORDS and "key" not in line):
            continue
        shape = camel(name)
        word = fields.LINE_WORDS.get(shape)
        if name in _KEY_WORDS:
            found.warn(name, f"`{name}` is ignored; the line has a `key`.", "Remove it.")
        elif name in _IN_REQUEST:
            # Without a request, `_check_request_kind` explains the contents.
            if type(request) is dict or name not in ("contents", "content"):
                found.error(name, f"`{name}` is next to `request`; it belongs in it.", f"Move it to `request.{shape}`.")
        elif name in _IN_CONFIG:
            meant = fields.SETTING_WORDS.get(shape, shape)
            found.error(
                name,
                f"`{name}` is next to `request`; it belongs in it.",
                f"Move it to `request.generationConfig.{meant}`.",
            )
        elif word is not None and (not whole or shape in _NEVER_NOTES):
            found.error(name, f"`{name}` {word.what}.", word.instead)
        elif "request" not in line and fields.near(name, _REQUEST):
            found.error(name, f"{clip(name)} is not a field of a line.", "Did you mean `request`?")
        elif "key" not in line and fields.near(name, _KEY):
            found.error(name, f"{clip(name)} is not a field of a line.", "Did you mean `key`?")
        else:
            found.warn(
                name, f"{clip(name)} is not a field of a line and has no effect.", "Keep it in a separate file, by key."
            )


def _check_request_kind(line: dict[str, object], request: object, found: Findings) -> None:
    loose = next((name for name in ("contents", "content") if line.get(name) is not None), None)
    if type(request) is str and request.lstrip().startswith("{"):
        found.error(
            "request",
            "`request` is a string that contains JSON.",
            "Write the object itself; the JSON was encoded twice.",
        )
    elif request is not None:
        found.error("request", f"`request` is {kind(request)}; it must be an object.", f"Write {_SHAPE}")
    elif loose is not None:
        found.error(
            loose,
            f"`{loose}` is not inside `request`.",
            f'Wrap the request: `{{"key": "…", "request": {{"{loose}": …}}}}`.',
        )
    elif not found.errors or line.get("key") is None:
        found.error("request", "The line has no `request`.", f"Write {_SHAPE}")


def _is_embedding(request: dict[str, object]) -> bool:
    """Whether a request asks for an embedding: it has ``content``, singular, and no ``contents``."""
    return request.get("content") is not None and request.get("contents") is None
