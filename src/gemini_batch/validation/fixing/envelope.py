"""The line around a request: ``key`` and ``request``, whatever other formats call them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeGuard

from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import fields
from gemini_batch.validation.findings import pick
from gemini_batch.validation.fixing import exact
from gemini_batch.validation.fixing.notes import put, rename
from gemini_batch.validation.fixing.settings import DIMENSIONS

if TYPE_CHECKING:
    from gemini_batch.validation.fixing.notes import Notes, Object

KEY_WORDS = ("custom_id", "customId", "id", "Key", "KEY", "recordId", "record_id")
_PROMPTS = ("contents", "content", "messages", "prompt", "text", "input")
#: Fields of a request; a `title` or `model` next to it may be the user's own.
_OF_REQUEST = (fields.GENERATE | fields.EMBED) - {"model", "title"}
_OF_CONFIG = fields.GENERATION_CONFIG | fields.both("maxTokens maxCompletionTokens thinkingBudget thinkingLevel stop")
_OF_BARE = (
    _OF_REQUEST
    | _OF_CONFIG
    | fields.both("systemPrompt responseFormat reasoningEffort toolChoice")
    | {"model", "config", "role", "system", *_PROMPTS}
)
_OF_EMBEDDING = fields.EMBED_CONFIG | {"title", *DIMENSIONS}
#: Where other providers' batch formats have the request, and what else their lines have.
_BODIES = {
    "body": frozenset({"key", "id", "custom_id", "method", "url", "body"}),
    "params": frozenset({"key", "id", "custom_id", "params"}),
}
_PROVIDERS = {"body": "OpenAI", "params": "Anthropic"}
#: What their requests say to the provider, not to the model.
_TO_PROVIDER = ("user", "metadata", "store", "service_tier")
_KEY, _REQUEST = frozenset({"key"}), frozenset({"request"})


def fix_line(line: Object, notes: Notes, key_from: str | None = None) -> None:
    """Give a line its ``key`` and its ``request``, as far as they can be found in it."""
    key = _key_at(line, key_from) if key_from else None
    if type(line.get("request")) is not dict:
        _find_request(line, notes)
    request = line.get("request")
    if type(request) is dict:
        _fill_request(line, request, notes)
    if not _is_key(line.get("key")):
        _find_key(line, request, notes, key, key_from)


def _is_key(value: object) -> TypeGuard[str]:
    return type(value) is str and value != ""


def _as_key(value: object) -> str | None:
    """A key of a string or a number."""
    return str(value) if type(value) in (int, Decimal) or _is_key(value) else None


def _key_at(line: Object, path: str) -> str | None:
    found: Any = line
    for step in path.split("."):
        if type(found) is list and step.isascii() and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step) if type(found) is dict else None
    return _as_key(found)


def _find_request(line: Object, notes: Notes) -> None:
    written = line.get("request")
    if exact.is_object(written):
        try:
            decoded = exact.decode(written)
        except ValueError:
            return
        if type(decoded) is dict:
            line["request"] = decoded
            notes.add("decoded a `request` that was encoded twice")
        return
    if written is not None:
        return
    for name, known in _BODIES.items():
        if type(body := line.get(name)) is dict and line.keys() <= known:
            _take_body(line, name, body, notes)
            return
    near = next((name for name in line if fields.near(name, _REQUEST) and type(line[name]) is dict), None)
    if near is not None:
        line.pop("request", None)
        rename(line, near, "request", line[near])
        notes.renamed(near, "request")
        return
    if len([name for name in _PROMPTS if line.get(name) is not None]) == 1:
        line.pop("request", None)
        embeds = line.get("content") is not None
        names = [name for name in line if name in _OF_BARE or (embeds and name in _OF_EMBEDDING)]
        request = {name: line.pop(name) for name in names}
        line["request"] = request
        notes.add("put the fields of a request into `request`")


def _take_body(line: Object, place: str, body: Object, notes: Notes) -> None:
    """A line of another provider's batch format; its body is fixed as a request."""
    said = body.pop("input", None) if "messages" not in body else None
    if said is not None:
        texts = [said] if type(said) is str else said
        embeds = str(line.get("url", "")).endswith("/embeddings")
        if not (type(texts) is list and len(texts) == 1 and type(texts[0]) is str and embeds):
            body["input"] = said
            return
        body["content"] = {"parts": [{"text": texts[0]}]}
        if body.get("encoding_format") == "float":
            del body["encoding_format"]
    body.pop("model", None)
    for name in _TO_PROVIDER:
        if body.pop(name, None) is not None:
            notes.removed(name, f"{_PROVIDERS[place]}'s own")
    if type(wanted := body.get("logprobs")) is bool:
        rename(body, "logprobs", "responseLogprobs", wanted)
        if type(count := body.get("top_logprobs")) is int:
            rename(body, "top_logprobs", "logprobs", count)
    for name in ("method", "url"):
        line.pop(name, None)
    rename(line, place, "request", body)
    what = f"a line of {_PROVIDERS[place]}'s batch format"
    notes.add(f"made a request of {what} (give the model of the job with `--model`)")


def _fill_request(line: Object, request: Object, notes: Notes) -> None:
    """Move into the request what stands next to it."""
    for name in list(line):
        value = line[name]
        if name in _OF_REQUEST:
            if value is None or put(request, _spellings(name), value):
                del line[name]
                notes.moved(name, f"request.{camel(name)}")
        elif name in _OF_CONFIG or name == "config":
            # Its place is found among the settings of the request, if they do not say otherwise.
            settings = pick(request, "generationConfig", "generation_config")[1]
            there = pick(settings, camel(name), name)[1] if type(settings) is dict else None
            if all(one is None or one == value for one in (request.get(name), there)):
                request[name] = value
                del line[name]
                notes.moved(name, "request")
        elif name == "model":
            del line[name]
            notes.removed(name, "give the model of the job with `--model`")


def _spellings(name: str) -> tuple[str, ...]:
    return (name,) if camel(name) == name else (name, camel(name))


def _find_key(line: Object, request: object, notes: Notes, given: str | None, key_from: str | None) -> None:
    """Take the key from where it is; a line without any has no ``key`` afterwards."""
    key = line.get("key")
    if given is not None:
        notes.add(f"took the key from `{key_from}`")
        _set_key(line, given)
        return
    if (made := _as_key(key)) is not None:
        notes.add("wrote a number in `key` as a string")
        _set_key(line, made)
        return
    if key not in (None, ""):
        return
    if key_from is not None:
        return
    for name in [*KEY_WORDS, *(name for name in line if name not in KEY_WORDS and fields.near(name, _KEY))]:
        if (made := _as_key(line.get(name))) is not None:
            del line[name]
            notes.renamed(name, "key")
            _set_key(line, made)
            return
    for around, place in ((line.get("metadata"), "metadata"), (request, "request")):
        if type(around) is dict and (made := _as_key(around.get("key"))) is not None:
            del around["key"]
            if place == "metadata" and not around:
                del line["metadata"]
            notes.add(f"moved the key out of `{place}`")
            _set_key(line, made)
            return
    if type(request) is dict and _is_key(custom := request.get("custom_id")):
        del request["custom_id"]
        notes.add("moved the key out of `request`")
        _set_key(line, custom)


def _set_key(line: Object, key: str) -> None:
    rest = {name: value for name, value in line.items() if name != "key"}
    line.clear()
    line.update({"key": key, **rest})
