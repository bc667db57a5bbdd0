"""Generation requests: a ``GenerateContentRequest``, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.validation import config as settings
from gemini_batch.validation import contents, fields
from gemini_batch.validation.findings import clip, kind, pick, strangers

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


_CLASH = fields.both("systemInstruction tools toolConfig")


def check_generate(request: dict[str, object], found: Findings) -> bool:
    """Check a ``GenerateContentRequest``. Returns whether it asks for JSON answers."""
    if not fields.GENERATE.issuperset(request):
        for name in strangers(request, fields.GENERATE):
            _explain_generate(name, request, found)
    said = request.get("contents")
    if said is not None:
        contents.check_contents(said, "request.contents", found)
    elif not _has_stand_in(request):
        found.error(
            "request.contents", "The request has no `contents`.", 'Add `"contents": [{"parts": [{"text": "…"}]}]`.'
        )
    if len(request) == 1:
        return False
    if "_" in "".join(request):
        _check_twice(request, found)
    _check_beside(request, found)
    name, config = pick(request, "generationConfig", "generation_config")
    expects_json = config is not None and settings.check_config(config, f"request.{name}", found)
    name, tools = pick(request, "tools", "tools")
    if tools is not None:
        settings.check_tools(tools, "request.tools", found)
        if type(config) is dict and settings.has_mcp_servers(tools) and _has_schema(config):
            found.warn(
                "request.tools",
                "In a batch, every request that has both MCP servers and a response schema fails.",
                "Remove one of the two.",
            )
    return expects_json


def _has_schema(config: dict[str, object]) -> bool:
    return (
        pick(config, "responseSchema", "response_schema")[1] is not None
        or pick(config, "responseJsonSchema", "response_json_schema")[1] is not None
    )


def _has_stand_in(request: dict[str, object]) -> bool:
    """Whether another name for `contents` was found and already explained."""
    return any(
        name in ("messages", "prompt", "text", "input", "parts", "requests", "request")
        or fields.near(name, fields.GENERATE) == "contents"
        for name in request
        if name not in fields.GENERATE
    )


def _check_twice(request: dict[str, object], found: Findings) -> None:
    for name, value in request.items():
        if value is not None and (other := fields.camel(name)) != name and request.get(other) is not None:
            found.error(f"request.{name}", f"`{name}` and `{other}` are the same field.", "Remove one of them.")


def _check_beside(request: dict[str, object], found: Findings) -> None:
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
    name, cached = pick(request, "cachedContent", "cached_content")
    if cached is not None and (clash := [word for word in request if word in _CLASH and request[word] is not None]):
        found.error(
            f"request.{name}",
            f"`{name}` cannot be combined with {' and '.join(f'`{word}`' for word in clash)}.",
            "Put them in the cached content when you create it, or do not use the cache.",
        )
    name, safety = pick(request, "safetySettings", "safety_settings")
    if safety is not None:
        settings.check_safety(safety, f"request.{name}", found)
    name, tier = pick(request, "serviceTier", "service_tier")
    if tier is not None:
        found.warn(f"request.{name}", f"`{name}` has no effect in a batch.", "Remove it.")
    check_model(request.get("model"), found)


def _explain_generate(name: str, request: dict[str, object], found: Findings) -> None:
    field = f"request.{name}"
    shape = fields.camel(name)
    if name == "content":
        _explain_content(request, found)
    elif word := fields.REQUEST_WORDS.get(shape):
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
    elif meant := fields.near(name, fields.GENERATE):
        found.error(field, f"{clip(name)} is not a field of a request.", f"Did you mean `{meant}`?")
    elif meant := fields.near(name, fields.GENERATION_CONFIG):
        found.error(
            field, f"{clip(name)} is not a field of a request.", f"Did you mean `request.generationConfig.{meant}`?"
        )
    else:
        found.warn(
            field, f"{clip(name)} is not a known field of a request.", "Check the spelling. The service may reject it."
        )


def _explain_content(request: dict[str, object], found: Findings) -> None:
    if request["content"] is not None:
        found.error(
            "request.content",
            "The request has both `contents` (generation) and `content` (embedding).",
            "Keep `contents` to generate text, or `content` to get a vector.",
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
