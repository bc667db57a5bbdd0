"""Generation requests: a ``GenerateContentRequest``, field by field.

What a request says next to its contents is the same in most lines of a file, so what was found about it is remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.protocol import checks
from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import config as settings
from gemini_batch.validation import contents, fields
from gemini_batch.validation.conform import Terms, conform
from gemini_batch.validation.findings import Findings, clip, kind, pick, strangers
from gemini_batch.vertex_place import LABEL

if TYPE_CHECKING:
    from gemini_batch.errors import Problem


_MESSAGE = "GenerateContentRequest"
_NO_TERMS = Terms()
#: International characters are permitted, too. A name begins with a letter.
_LABEL = re.compile(r"[^\x00-,./:-^`{-\x7f]{0,63}")
_LABEL_NAME = re.compile(r"(?![0-9_-])[^\x00-,./:-^`{-\x7f]{1,63}")
#: A request may have 64 labels, and one is added.
_MOST_LABELS = 63
#: Longer settings (an image in the system instruction) are checked anew in every line instead of being kept in memory.
KEPT = 64 * 1024


class Asked(NamedTuple):
    """The form of answer that a request asks for: JSON or not, and the JSON Schema of the answer, as JSON.

    ``settings``: what the request says next to its contents, as JSON, if these are only text; else None.
    """

    expects_json: bool = False
    schema: bytes | None = None
    settings: bytes | None = None


class _Checked(NamedTuple):
    """What was found about the settings of a request, without a line number, and the answer that they ask for."""

    problems: tuple[Problem, ...]
    asked: Asked


def check_generate(request: dict[str, Any], found: Findings, terms: Terms = _NO_TERMS) -> Asked:
    """Check a ``GenerateContentRequest``. Returns the form of answer that it asks for."""
    said = request.get("contents")
    asked, encoded = Asked(), b"{}"
    if len(request) > ("contents" in request):
        rest = {name: value for name, value in request.items() if name != "contents"}
        if terms.vertex and "labels" in rest:
            _check_labels(rest.pop("labels"), found)
        if terms.vertex:
            _check_no_cache(rest, found)
        encoded = jsonl.encode(rest)
        check = _settings if len(encoded) <= KEPT else _settings.__wrapped__
        checked = check(encoded, terms)
        found.take(checked.problems)
        asked = checked.asked
        if said is not None and rest.get("content") is not None:
            found.error(
                "request.content",
                "The request has both `contents` (generation) and `content` (embedding).",
                "Keep `contents` to generate text, or `content` to get a vector.",
            )
    if said is not None:
        only_text = contents.is_text(said)
        # A turn of the model at the end is a matter of the model.
        plain = only_text or (contents.is_plain(said) and not terms.vertex)
        if not plain or (terms.model and said[-1].get("role") == "model"):
            contents.check_contents(said, "request.contents", found)
            conform(
                _MESSAGE,
                {"contents": said},
                found,
                lambda made: checks.broken_contents(_MESSAGE, made.get("contents"), model=terms.model),
                lenient=terms.lenient,
            )
            contents.check_turns(said, found, terms.model)
        if only_text:
            asked = Asked(asked.expects_json, asked.schema, encoded)
    elif not _has_stand_in(request):
        found.error(
            "request.contents", "The request has no `contents`.", 'Add `"contents": [{"parts": [{"text": "…"}]}]`.'
        )
    return asked


def _check_no_cache(rest: dict[str, Any], found: Findings) -> None:
    """Explicit caching is not available in batches there (cloud.google.com, *Batch inference*)."""
    for name in ("cachedContent", "cached_content"):
        if rest.pop(name, None):
            found.error(
                f"request.{name}",
                f"`{name}` is refused: batches of Vertex AI cannot use a cache.",
                "Leave it out, and put what the cache holds into the request.",
            )


def _check_labels(labels: object, found: Findings) -> None:
    """Labels of a request are a matter of Vertex AI (cloud.google.com, *Labels*)."""
    if labels is None:
        return
    if type(labels) is not dict:
        found.error("request.labels", "`labels` is not an object.", 'Write names and values: `{"team": "search"}`.')
        return
    if len(labels) > _MOST_LABELS:
        found.error(
            "request.labels",
            f"The request has {len(labels)} labels; it may have {_MOST_LABELS}, because `{LABEL}` is added.",
            "Remove some.",
        )
    for name, value in labels.items():
        if name == LABEL:
            found.error(
                f"request.labels.{name}",
                f"The label `{LABEL}` joins answers with requests, so it cannot have a value of your own.",
                "Use another name.",
            )
        elif type(value) is not str or not _LABEL.fullmatch(value) or not _LABEL_NAME.fullmatch(name):
            found.error(
                f"request.labels.{name}",
                "The name of a label, and its value, have at most 63 lower-case letters, digits, `_` and `-`; a name "
                "begins with a letter.",
                "Shorten or rewrite it.",
            )


@lru_cache(maxsize=64)
def _settings(encoded: bytes, terms: Terms) -> _Checked:
    request = jsonl.decode(encoded)
    found = Findings(0)
    for name in strangers(request, fields.GENERATE):
        _explain_generate(name, found)
    _check_beside(request, found)
    name, config = pick(request, "generationConfig", "generation_config")
    expects_json = config is not None and settings.check_config(config, f"request.{name}", found, terms.model)
    tools = request.get("tools")
    if tools is not None:
        settings.check_tools(tools, "request.tools", found)
        if type(config) is dict and settings.has_mcp_servers(tools) and settings.schema_of(config)[1] is not None:
            found.warn(
                "request.tools",
                "In a batch, every request that has both MCP servers and a response schema fails.",
                "Remove one of the two.",
            )
    conform(
        _MESSAGE,
        {name: value for name, value in request.items() if name != "content" or value is None},
        found,
        lambda made: checks.broken_settings(_MESSAGE, made, model=terms.model),
        lenient=terms.lenient,
    )
    schema = None
    if type(config) is dict:
        schema = settings.answer_schema(config, f"request.{name}", found, expects_json=expects_json)
    return _Checked(tuple(found.problems), Asked(expects_json, schema))


def _has_stand_in(request: dict[str, Any]) -> bool:
    """Whether another name for `contents` was found and already explained."""
    return any(
        name in ("messages", "prompt", "text", "input", "parts", "requests", "request")
        or fields.near(name, fields.GENERATE) == "contents"
        for name in request
        if name not in fields.GENERATE
    )


def _check_beside(request: dict[str, Any], found: Findings) -> None:
    """Check what is next to ``contents``, except settings and tools."""
    name, instruction = pick(request, "systemInstruction", "system_instruction")
    if instruction is not None:
        if type(instruction) is dict:
            contents.check_content(instruction, f"request.{name}", found, instruction=True)
        else:
            found.error(
                f"request.{name}",
                f"The system instruction is {kind(instruction)}; it must be an object.",
                'Put the text in a part: `{"parts": [{"text": "…"}]}`.',
            )
    name, tier = pick(request, "serviceTier", "service_tier")
    if tier is not None:
        found.warn(f"request.{name}", f"`{name}` has no effect in a batch.", "Remove it.")
    check_model(request.get("model"), found)


def _explain_generate(name: str, found: Findings) -> None:
    """Explain a name that has another place or another spelling; :func:`conform` reports the rest."""
    field = f"request.{name}"
    shape = camel(name)
    if name == "content":
        return
    if word := fields.REQUEST_WORDS.get(shape):
        found.error(field, f"`{name}` {word.what}.", word.instead)
    elif name in fields.GENERATION_CONFIG:
        found.error(
            field,
            f"`{name}` belongs in `request.generationConfig`.",
            f'Write `"generationConfig": {{"{name}": …}}`.',
        )
    elif shape in fields.SETTING_WORDS:
        found.error(
            field,
            f"{clip(name)} is not a field of a request.",
            f"Use `request.generationConfig.{fields.SETTING_WORDS[shape]}`.",
        )
    elif name in fields.TOOL:
        found.error(field, f"`{name}` is a tool; it belongs in `tools`.", f'Write `"tools": [{{"{name}": …}}]`.')
    elif name in fields.EMBED:
        found.error(
            field,
            f"`{name}` is a setting for embeddings, not for generation.",
            'Remove it. To request an embedding, write `"content": {"parts": [{"text": "…"}]}` instead of `contents`.',
        )
    elif not fields.near(name, fields.GENERATE) and (meant := fields.near(name, fields.GENERATION_CONFIG)):
        found.error(
            field, f"{clip(name)} is not a field of a request.", f"Did you mean `request.generationConfig.{meant}`?"
        )


def check_model(model: object, found: Findings) -> None:
    """Check `model` inside a request. The job's model takes precedence; the wire form is ``models/…``."""
    if model is None:
        return
    if type(model) is str and model.startswith("models/"):
        found.warn("request.model", "`model` has no effect here: the job's model answers every line.", "Remove it.")
    else:
        found.error(
            "request.model",
            f"`model` is {clip(model) if type(model) is str else kind(model)}; it must begin with `models/`.",
            "Remove it. The job's model answers every line.",
        )
