"""Lines of an input file: the service's checks when a batch is created, and a row as the engine reads it.

A line is ``{"key": …, "request": …}``. Other names are ignored, as at the service; a bare request is a row without a
key. Inline batches are stored in the same form, with ``metadata`` instead of ``key``.

Inside ``request`` every name and every type is checked, and a line that does not fit refuses the whole job. A request
that fits but breaks a rule of :mod:`gemini_batch.protocol.rules` fails when its row is processed.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages.protojson import column, struct
from gemini_batch.emulator.responders.builtin import prompt_tokens
from gemini_batch.errors import RowError
from gemini_batch.protocol.checks import broken, broken_settings
from gemini_batch.protocol.reading import Reader
from gemini_batch.protocol.rules import is_media_type
from gemini_batch.protocol.setting_checks import CACHE_CLASH
from gemini_batch.protocol.tables import messages, names

if TYPE_CHECKING:
    from gemini_batch.emulator.responders.builtin import Responder
    from gemini_batch.emulator.state.models import Kind

REQUEST: dict[Kind, str] = {"generate": "GenerateContentRequest", "embed": "EmbedContentRequest"}
#: What identifies an answer: the key for a file's rows, the metadata for inline requests.
Tag = Literal["key", "metadata"]
_NOTHING = (b"", b"null")
#: The most bad lines listed in one refusal; then reading stops.
LISTED = 100

_EMPTY_SYSTEM = "* GenerateContentRequest.system_instruction.parts: contents.parts must not be empty."


class Checked(NamedTuple):
    """A checked file: its number of rows and the problems found.

    ``plain``: all rows are in canonical form, and none breaks a rule.
    """

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


def check(kind: Kind, source: IO[bytes], *, model: str, lenient: bool = False) -> Checked:
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
                found = _explain(kind, data, lenient=lenient)
            else:
                found = None
                if not _fits(kind, typed.request, model, lenient=lenient):
                    found = _explain(kind, data, lenient=lenient)
                    request = jsonl.decode(data)["request"]
                    plain = plain and not found and not refusal(kind, request, model=model, lenient=lenient)
            rows += 1
            if found is not None:
                problems.append(f"Error on line {number}: {found}")
                if len(problems) == LISTED:
                    break
    except jsonl.LineTooLong as error:
        problems.append(f"Error on line {error.number}: the line is too long.")
    return Checked(rows, plain, problems)


def read(kind: Kind, data: bytes, *, plain: bool, tag: Tag, lenient: bool = False) -> Row:
    """One row of a checked file; ``plain`` if all its rows are in canonical form and break no rule.

    Raises :class:`RowError` (code 3) if the line cannot be read after all.
    """
    if plain:
        row = _plain.decode(data)
        raw = bytes(row.key if tag == "key" else row.metadata)
        return Row(row.request, b"" if raw in _NOTHING else b',"%s":%s' % (tag.encode(), raw))
    reader = Reader(lenient=lenient)
    request, _ = _parts(kind, jsonl.decode(data))
    made = reader.read(REQUEST[kind], request)
    if reader.violations:
        raise RowError(3, reader.violations[0].described)
    return Row(made, tag_of(data, tag))


def refusal(kind: Kind, request: dict[str, Any], *, model: str, lenient: bool) -> str | None:
    """Why the service refuses a request in canonical form when it processes it, or None.

    ``lenient``: only refusals that are known for certain.
    """
    found = broken(REQUEST[kind], request, model=model)
    return next((one.said for one in found if one.certain or not lenient), None)


def refusing(respond: Responder, kind: Kind, *, lenient: bool) -> Responder:
    """A responder that answers only what the service accepts; it raises :class:`RowError` (code 3) for the rest."""

    def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
        if said := refusal(kind, request, model=model, lenient=lenient):
            raise RowError(3, said)
        return respond(model, request)

    return answer


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
        total += request_tokens(kind, request)
    return total


def request_tokens(kind: Kind, request: dict[str, Any]) -> int:
    """The prompt tokens of one request in canonical form."""
    return prompt_tokens({"contents": [request.get("content") or {}]} if kind == "embed" else request)


def tag_of(data: bytes, tag: Tag) -> bytes:
    """The tag of the answer to a line, even if the rest of the line is invalid."""
    value = jsonl.decode(data).get(tag)
    return b"" if value is None else b',"%s":%s' % (tag.encode(), jsonl.encode(value))


def clash(request: dict[str, Any]) -> str | None:
    """Why the service refuses to create a job with a request in canonical form, or None."""
    system = request.get("systemInstruction")
    if request.get("cachedContent") and (
        system is not None or request.get("tools") or request.get("toolConfig") is not None
    ):
        return CACHE_CLASH
    return _EMPTY_SYSTEM if system is not None and not system.get("parts") else None


def _fits(kind: Kind, request: Any, model: str, *, lenient: bool) -> bool:
    """Whether a typed request certainly breaks no rule. Its settings are those of most other lines, so remembered."""
    contents = (request.content,) if kind == "embed" else request.contents
    if not contents or (kind == "generate" and contents[-1].role == "model"):
        return False  # some models do not continue their own turn
    for content in contents:
        if (
            content is None
            or content.role not in _ROLES
            or not content.parts
            or not all(map(_part_fits, content.parts))
        ):
            return False
    if kind == "embed":
        request.content = None
    else:
        request.contents = None
    settings = jsonl.encode(request)
    return settings == b"{}" or (len(settings) <= _KEPT and _settings_fit(kind, settings, model, lenient))


def _part_fits(part: Any) -> bool:
    if msgspec.structs.astuple(part).count(None) != _PART - 1:
        return False
    blob, file = part.inlineData, part.fileData
    if blob is not None:
        return bool(blob.data and blob.mimeType) and is_media_type(blob.mimeType)
    return bool(part.text or (file is not None and file.fileUri))


@lru_cache(maxsize=64)
def _settings_fit(kind: Kind, settings: bytes, model: str, lenient: bool) -> bool:
    reader = Reader(lenient=lenient)
    request = reader.read(REQUEST[kind], jsonl.decode(settings))
    found = reader.violations or clash(request) or broken_settings(REQUEST[kind], request, model=model)
    return not found


_ROLES = (None, "user", "model")
_PART = len(messages()["Part"].fields)
#: Longer settings are judged anew in every line.
_KEPT = 64 * 1024


def _parts(kind: Kind, value: dict[str, Any]) -> tuple[Any, Any]:
    """Request and key of a decoded line; a line that is itself a request has no key."""
    bare = "request" not in value and not names(REQUEST[kind]).isdisjoint(value)
    return (value if bare else value.get("request")), value.get("key")


def _explain(kind: Kind, data: bytes, *, lenient: bool) -> str | None:
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
    reader = Reader(lenient=lenient)
    made = reader.read(REQUEST[kind], request, () if request is value else ("request",))
    if reader.violations:
        first = reader.violations[0]
        return f"invalid JSON, near column {column(text, first.place)}: {first.short}"
    return None if kind == "embed" else clash(made)
