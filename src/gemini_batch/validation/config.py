"""``generationConfig``, ``tools`` and ``safetySettings``: how the model should answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.validation import fields
from gemini_batch.validation.findings import clip, kind, pick, strangers

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


_INNER = {
    "thinkingConfig": fields.THINKING_CONFIG,
    "thinking_config": fields.THINKING_CONFIG,
    "imageConfig": fields.IMAGE_CONFIG,
    "image_config": fields.IMAGE_CONFIG,
    "speechConfig": fields.SPEECH_CONFIG,
    "speech_config": fields.SPEECH_CONFIG,
}
#: The settings whose values are checked.
_LOOK = frozenset(_INNER) | fields.both(
    "responseSchema responseJsonSchema responseFormat responseModalities stopSequences"
)
_SCHEMAS = fields.both("responseSchema responseJsonSchema")
_BESIDE = frozenset({"systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "contents"})
_EMBEDDING = frozenset({"taskType", "outputDimensionality", "title"})


def check_config(config: object, path: str, found: Findings) -> bool:
    """Check ``generationConfig``. Returns whether it asks for JSON answers."""
    if type(config) is not dict:
        found.error(
            path,
            f"`generationConfig` is {kind(config)}; it must be an object.",
            'Write, for example, `{"temperature": 0.2}`.',
        )
        return False
    if not fields.GENERATION_CONFIG.issuperset(config):
        for name in config:
            if name not in fields.GENERATION_CONFIG:
                _explain_setting(name, f"{path}.{name}", found)
    name, mime = pick(config, "responseMimeType", "response_mime_type")
    if mime is not None and type(mime) is not str:
        found.error(f"{path}.{name}", f"`{name}` is {kind(mime)}; it must be a string.", 'Write `"application/json"`.')
    if not _LOOK.isdisjoint(config):
        _check_values(config, path, found, has_mime=mime is not None)
    return (type(mime) is str and mime.strip().lower() == "application/json") or _format_is_json(config)


def _format_is_json(config: dict[str, object]) -> bool:
    """Whether ``responseFormat``, which nests the MIME type of text answers, asks for JSON."""
    form = pick(config, "responseFormat", "response_format")[1]
    text = form.get("text") if type(form) is dict else None
    mime = pick(text, "mimeType", "mime_type")[1] if type(text) is dict else None
    return mime in ("APPLICATION_JSON", "application/json")


def _explain_setting(name: str, field: str, found: Findings) -> None:
    shape = fields.camel(name)
    if shape in fields.SETTING_WORDS:
        meant = fields.SETTING_WORDS[shape]
        found.error(field, f"{clip(name)} is not a setting.", f"Rename it to `request.generationConfig.{meant}`.")
    elif shape in _BESIDE:
        found.error(
            field,
            f"`{name}` does not belong in `generationConfig`.",
            f"Move it one level up, to `request.{shape}`.",
        )
    elif shape in _EMBEDDING:
        found.error(
            field,
            f"`{name}` is a setting for embeddings, not for generation.",
            'Remove it. To request an embedding, write `"request": {"content": {"parts": [{"text": "…"}]}, …}`.',
        )
    elif meant_field := fields.near(name, fields.GENERATION_CONFIG):
        found.error(field, f"{clip(name)} is not a setting.", f"Did you mean `{meant_field}`?")
    else:
        found.warn(field, f"{clip(name)} is not a known setting.", "Check the spelling. The service may reject it.")


def _check_values(config: dict[str, object], path: str, found: Findings, *, has_mime: bool) -> None:
    for name, known in _INNER.items():
        inner = config.get(name)
        if inner is not None:
            _check_inner(inner, known, name, f"{path}.{name}", found)
    for camel_name in ("responseModalities", "stopSequences"):
        name, value = pick(config, camel_name, fields.snake(camel_name))
        if value is not None and type(value) is not list:
            found.error(f"{path}.{name}", f"`{name}` is {kind(value)}; it must be a list.", "Enclose it in `[…]`.")
    name, schema = pick(config, "responseSchema", "response_schema")
    if schema is not None:
        if type(schema) is dict:
            _check_schema(schema, f"{path}.{name}", found)
        else:
            found.error(
                f"{path}.{name}", f"`{name}` is {kind(schema)}; it must be an object.", 'Write `{"type": "OBJECT", …}`.'
            )
    given = [name for name in config if name in _SCHEMAS and config[name] is not None]
    if len(given) > 1:
        found.error(f"{path}.{given[1]}", "The request has two response schemas.", "Remove one of them.")
    if given and not has_mime:
        found.warn(
            f"{path}.{given[0]}",
            "A response schema requires a MIME type.",
            'Add `"responseMimeType": "application/json"` next to it.',
        )


def _check_inner(value: object, known: frozenset[str], name: str, path: str, found: Findings) -> None:
    if type(value) is not dict:
        found.error(path, f"`{name}` is {kind(value)}; it must be an object.", "Write its fields inside `{…}`.")
        return
    for field in strangers(value, known):
        if meant := fields.near(field, known):
            found.error(f"{path}.{field}", f"{clip(field)} is not a field of `{name}`.", f"Did you mean `{meant}`?")
        else:
            found.warn(
                f"{path}.{field}",
                f"{clip(field)} is not a known field of `{name}`.",
                "Check the spelling. The service may reject it.",
            )


def _check_schema(schema: dict[str, object], path: str, found: Findings) -> None:
    """Warn, once, about what ``responseSchema`` does not support. The service rejects it in some requests."""
    waiting: list[tuple[object, str]] = [(schema, path)]
    while waiting:
        node, place = waiting.pop()
        if type(node) is not dict:
            continue
        strange = next((name for name in node if name not in fields.SCHEMA), None)
        if strange is None and type(node.get("type")) is list:
            strange = "type"
        if strange is not None:
            what = "A list of types" if strange == "type" else clip(strange)
            found.warn(
                f"{place}.{strange}",
                f"{what} is JSON Schema; `responseSchema` supports only a subset of OpenAPI.",
                "Rename the field to `responseJsonSchema`, which accepts JSON Schema.",
            )
            return
        properties = node.get("properties")
        if type(properties) is dict:
            waiting.extend((inner, f"{place}.properties.{name}") for name, inner in properties.items())
        waiting.append((node.get("items"), f"{place}.items"))
        options = pick(node, "anyOf", "any_of")[1]
        if type(options) is list:
            waiting.extend((inner, f"{place}.anyOf[{number}]") for number, inner in enumerate(options))


def check_tools(tools: object, path: str, found: Findings) -> None:
    """Check ``tools``: a list of objects, each with one tool."""
    if type(tools) is dict:
        found.warn(path, "`tools` is an object; it should be a list.", "Enclose it in `[…]`.")
        tools = [tools]
    if type(tools) is not list:
        found.error(
            path, f"`tools` is {kind(tools)}; it must be a list.", 'Write, for example, `[{"googleSearch": {}}]`.'
        )
        return
    for place, tool in enumerate(tools):
        if type(tool) is not dict:
            found.error(
                f"{path}[{place}]",
                f"The tool is {kind(tool)}; it must be an object.",
                'Write, for example, `{"googleSearch": {}}`.',
            )
            continue
        for name in strangers(tool, fields.TOOL):
            field = f"{path}[{place}].{name}"
            if name in ("function", "type", "name", "parameters", "input_schema"):
                found.error(
                    field,
                    f"`{name}` is another provider's format for tools.",
                    'Write `{"functionDeclarations": [{"name": "…", "description": "…", "parameters": {…}}]}`.',
                )
            elif meant := fields.near(name, fields.TOOL):
                found.error(field, f"{clip(name)} is not a tool.", f"Did you mean `{meant}`?")
            else:
                found.warn(
                    field, f"{clip(name)} is not a known tool.", "Check the spelling. The service may reject it."
                )


def check_safety(settings: object, path: str, found: Findings) -> None:
    """Check ``safetySettings``: a list of objects with ``category`` and ``threshold``."""
    if type(settings) is not list:
        found.error(
            path,
            f"`safetySettings` is {kind(settings)}; it must be a list.",
            'Write, for example, `[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]`.',
        )
        return
    for place, setting in enumerate(settings):
        if type(setting) is not dict:
            found.error(
                f"{path}[{place}]",
                f"The safety setting is {kind(setting)}; it must be an object.",
                "Write an object with `category` and `threshold`.",
            )
            continue
        for name in strangers(setting, fields.SAFETY_SETTING):
            found.warn(
                f"{path}[{place}].{name}",
                f"{clip(name)} is not a field of a safety setting.",
                "Use `category` and `threshold`.",
            )


def has_mcp_servers(tools: object) -> bool:
    """Whether any of the tools names MCP servers."""
    return type(tools) is list and any(
        type(tool) is dict and pick(tool, "mcpServers", "mcp_servers")[1] for tool in tools
    )
