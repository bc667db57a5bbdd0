"""Lines of an input file: the service's checks when a batch is created, and a row as the engine reads it.

A line is ``{"key": …, "request": …}``. Other names are ignored, as at the service; a bare request is a row without a
key. Inside ``request`` every name is checked. Inline batches are stored in the same form, with ``metadata`` instead of
``key``.
"""

from __future__ import annotations

from functools import cache
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages.field_tables import messages
from gemini_batch.emulator.messages.protojson import Violation, column, normalise, struct
from gemini_batch.emulator.responders.builtin import prompt_tokens
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from gemini_batch.emulator.state.models import Kind

REQUEST: dict[Kind, str] = {"generate": "GenerateContentRequest", "embed": "EmbedContentRequest"}
#: What identifies an answer: the key for a file's rows, the metadata for inline requests.
Tag = Literal["key", "metadata"]
_NOTHING = (b"", b"null")
#: The most bad lines listed in one refusal; then reading stops.
LISTED = 100

CACHE_CLASH = (
    "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config."
    " Proposed fix: move those values to CachedContent from GenerateContent request."
)
EMPTY_SYSTEM = "* GenerateContentRequest.system_instruction.parts: contents.parts must not be empty."


class Checked(NamedTuple):
    """A checked file: its number of rows, whether all are in canonical form (``plain``), and the problems found."""

    rows: int
    plain: bool
    problems: list[str]


class Row(NamedTuple):
    """One row: the request in canonical form, and the tag of its answer as JSON (``,"key":"…"`` or nothing)."""

    request: dict[str, Any]
    tag: bytes


@cache
def _typed(kind: Kind) -> msgspec.json.Decoder[Any]:
    return jsonl.decoder(lambda: _built(kind))


def _built(kind: Kind) -> msgspec.json.Decoder[Any]:
    fields: list[Any] = [("request", struct(REQUEST[kind])), ("key", str | None, None)]
    return msgspec.json.Decoder(msgspec.defstruct("TypedLine", fields, gc=False))


class _Plain(msgspec.Struct, gc=False):
    request: dict[str, Any]
    key: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()


_plain = msgspec.json.Decoder(_Plain)


def check(kind: Kind, source: IO[bytes]) -> Checked:
    """Check all lines of a file. Blank lines are not rows, but count in line numbers."""
    decode = _typed(kind).decode
    rows, plain, problems = 0, True, list[str]()
    try:
        for _, number, data in jsonl.read_lines(source):
            try:
                typed = decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if not data.strip():
                    continue
                plain = False
                found = _explain(kind, data)
            else:
                found = _clash_typed(typed.request) if kind == "generate" else None
                if _crowded(kind, typed.request):
                    found = _explain(kind, data)
            rows += 1
            if found is not None:
                problems.append(f"Error on line {number}: {found}")
                if len(problems) == LISTED:
                    break
    except jsonl.LineTooLong as error:
        problems.append(f"Error on line {error.number}: the line is too long.")
    return Checked(rows, plain, problems)


def read(kind: Kind, data: bytes, *, plain: bool, tag: Tag) -> Row:
    """One row of a checked file; ``plain`` if all its rows are in canonical form.

    Raises :class:`RowError` (code 3) if the line cannot be read after all.
    """
    if plain:
        row = _plain.decode(data)
        raw = bytes(row.key if tag == "key" else row.metadata)
        return Row(row.request, b"" if raw in _NOTHING else b',"%s":%s' % (tag.encode(), raw))
    violations: list[Violation] = []
    request, _ = _parts(kind, jsonl.decode(data))
    made = normalise(REQUEST[kind], request, violations=violations)
    if violations:
        raise RowError(3, violations[0].described)
    return Row(made, tag_of(data, tag))


def count_tokens(kind: Kind, source: IO[bytes], *, plain: bool) -> int:
    """The prompt tokens of a checked file, as the emulator counts them: one for every four characters."""
    total = 0
    for line in jsonl.read_lines(source):
        if not line.data.strip():
            continue
        try:
            request = read(kind, line.data, plain=plain, tag="key").request
        except RowError:
            continue
        if kind == "embed":
            request = {"contents": [request.get("content") or {}]}
        total += prompt_tokens(request)
    return total


def tag_of(data: bytes, tag: Tag) -> bytes:
    """The tag of the answer to a line, even if the rest of the line is invalid."""
    value = jsonl.decode(data).get(tag)
    return b"" if value is None else b',"%s":%s' % (tag.encode(), jsonl.encode(value))


def clash(request: dict[str, Any]) -> str | None:
    """Why the service refuses a request whose fields are all known, or None; for requests in canonical form."""
    system = request.get("systemInstruction")
    if request.get("cachedContent") and (
        system is not None or request.get("tools") or request.get("toolConfig") is not None
    ):
        return CACHE_CLASH
    if system is not None and any(part.get("text") == "" for part in system.get("parts", ())):
        return EMPTY_SYSTEM
    return None


def _clash_typed(request: Any) -> str | None:
    system = request.systemInstruction
    if request.cachedContent and (system is not None or request.tools or request.toolConfig is not None):
        return CACHE_CLASH
    if system is not None and any(part.text == "" for part in system.parts or ()):
        return EMPTY_SYSTEM
    return None


def _crowded(kind: Kind, request: Any) -> bool:
    """Whether a part has two kinds of data, which the typed structs cannot detect."""
    contents = (request.content,) if kind == "embed" else request.contents or ()
    return any(
        _data_of(part).count(None) < len(_DATA) - 1
        for content in contents
        if content is not None
        for part in content.parts or ()
    )


_DATA = [field.name for field in messages()["Part"].fields if field.group]


def _data_of(part: Any) -> tuple[Any, ...]:
    values: tuple[Any, ...] = msgspec.structs.astuple(part)[: len(_DATA)]
    return values


def _parts(kind: Kind, value: dict[str, Any]) -> tuple[Any, Any]:
    """Request and key of a decoded line; a line that is itself a request has no key."""
    bare = "request" not in value and any(name in messages()[REQUEST[kind]].lookup for name in value)
    return (value if bare else value.get("request")), value.get("key")


def _explain(kind: Kind, data: bytes) -> str | None:
    """Why the service refuses a line, or None if the line is valid but not in canonical form."""
    try:
        value = jsonl.decode(data)
    except jsonl.NotJson as error:
        where = f", near column {error.column}" if error.column else ""
        return f"invalid JSON{where}: {error}"
    if not isinstance(value, dict):
        return "invalid JSON, near column 1: expected an object"
    request, key = _parts(kind, value)
    if request is None:
        return "invalid JSON, near column 1: the line has no 'request'"
    text = data.decode()
    if key is not None and not isinstance(key, str):
        return f"invalid JSON, near column {column(text, ('key',))}: invalid value for string field key"
    violations: list[Violation] = []
    made = normalise(
        REQUEST[kind], request, violations=violations, place=() if request is value else ("request",), path=""
    )
    if violations:
        first = violations[0]
        return f"invalid JSON, near column {column(text, first.place)}: {first.short}"
    return None if kind == "embed" else clash(made)
