"""One turn of a conversation, and its parts as text. Media is named with its size, never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.jsonl import dumps
from gemini_batch.protocol.spelling import camel
from gemini_batch.transcript.sizes import size

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longer strings inside a value that is shown as JSON are cut: they are data, not text.
_LONGEST = 2000
#: Fields that say something about a part and are no content.
_ABOUT = frozenset({"thought", "thoughtSignature", "videoMetadata", "partMetadata", "mediaResolution"})


class Turn(msgspec.Struct, frozen=True):
    """One turn of a conversation as text."""

    role: str
    """`system`, `user`, `model`, `thought`, `candidate 2` and so on, or `settings` for the rest of a request."""
    text: str
    """Its text. What is not text is named in brackets: `[image/png, 1.2 MB]`."""


def turns_of(role: str, parts: object) -> Iterator[Turn]:
    """The parts of one content as a turn; thoughts are turns of their own. Never raises, whatever ``parts`` is."""
    listed = parts if isinstance(parts, list) else [parts]
    blocks: list[tuple[str, str, bool]] = []
    for part in listed:
        speaker = "thought" if isinstance(part, dict) and part.get("thought") is True else role
        plain = isinstance(part, dict) and isinstance(part.get("text"), str)
        blocks += [(speaker, text, plain) for text in _part(part)]
    while blocks:
        speaker = blocks[0][0]
        count = next((at for at, block in enumerate(blocks) if block[0] != speaker), len(blocks))
        yield Turn(speaker, _joined([(text, plain) for _, text, plain in blocks[:count]]))
        del blocks[:count]


def _joined(blocks: list[tuple[str, bool]]) -> str:
    """Texts that follow each other are one text, as clients of the service join them; the rest has its own lines."""
    text, before = blocks[0]
    for more, plain in blocks[1:]:
        text += more if before and plain else f"\n{more}"
        before = plain
    return text


def _part(part: object) -> Iterator[str]:
    if not isinstance(part, dict):
        if part is not None:
            yield part if isinstance(part, str) else pretty(part)
        return
    for name, value in part.items():
        field = camel(name)
        if field not in _ABOUT and value is not None:
            yield value if field == "text" and isinstance(value, str) else _named(field, value)


def _named(field: str, value: object) -> str:
    """A part that is not text, in words."""
    if not isinstance(value, dict):
        return f"[{field}]\n{pretty(value)}"
    fields = {camel(name): inner for name, inner in value.items()}
    match field:
        case "inlineData":
            return f"[{_type(fields)}, {_amount(fields.get('data'))}]"
        case "fileData":
            return f"[{_type(fields)}, {fields.get('fileUri') or 'no address'}]"
        case "functionCall":
            return _call("calls", fields, "args")
        case "functionResponse":
            return _call("result of", fields, "response")
        case "executableCode":
            return f"[code, {fields.get('language') or 'unknown language'}]\n{fields.get('code') or ''}"
        case "codeExecutionResult":
            return f"[result of the code, {fields.get('outcome') or 'unknown'}]\n{fields.get('output') or ''}"
        case _:
            return f"[{field}]\n{pretty(value)}"


def _call(what: str, fields: dict[str, Any], content: str) -> str:
    """A call of a tool, or what it gave back; OpenAI's shape has the name and the arguments one level deeper."""
    inner = fields.get("function")
    if isinstance(inner, dict):
        fields, content = inner, "arguments"
    value = fields.get(content)
    if isinstance(value, str):
        value = as_json(value) or value
    head = f"[{what} {fields.get('name') or 'a tool without a name'}]"
    return head if value in (None, {}, "") else f"{head}\n{value if isinstance(value, str) else pretty(value)}"


def _type(fields: dict[str, Any]) -> str:
    return str(fields.get("mimeType") or "unknown type")


def _amount(data: object) -> str:
    """The size of what base64 stands for, without decoding it."""
    if not isinstance(data, str):
        return "no data"
    return size(len(data.rstrip("=")) * 3 // 4)


def pretty(value: object) -> str:
    """A value as JSON on several lines; long strings in it are cut."""
    return msgspec.json.format(dumps(_cut(value)), indent=2).decode()


def pretty_text(text: str) -> str | None:
    """A text that is one JSON object or list, on several lines, every number as it is; None for any other text."""
    return None if as_json(text) is None else msgspec.json.format(text.encode(), indent=2).decode()


def as_json(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or list that a text is as JSON; None for any other text."""
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _cut(value: object) -> object:
    match value:
        case str() if len(value) > _LONGEST:
            return f"{value[:_LONGEST]}… ({len(value):,} characters)"
        case list():
            return [_cut(one) for one in value]
        case dict():
            return {name: _cut(one) for name, one in value.items()}
        case _:
            return value
