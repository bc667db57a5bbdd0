"""``generationConfig`` and ``tools``: what is often written instead of their fields.

Names, types and values themselves are compared with the protocol's tables in :mod:`conform`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch import jsonl
from gemini_batch.protocol import rules
from gemini_batch.protocol.openapi_schema import json_schema_of, lowered
from gemini_batch.protocol.schema_checker import NotASchema, compile_schema
from gemini_batch.protocol.spelling import camel, snake
from gemini_batch.validation import fields
from gemini_batch.validation.findings import clip, kind, pick, strangers

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


_BESIDE = frozenset({"systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "contents"})
_EMBEDDING = frozenset({"taskType", "outputDimensionality", "title"})


def check_config(config: object, path: str, found: Findings, model: str = "") -> bool:
    """Check ``generationConfig``. Returns whether it asks for JSON answers."""
    if type(config) is not dict:
        found.error(
            path,
            f"`generationConfig` is {kind(config)}; it must be an object.",
            'Write, for example, `{"temperature": 0.2}`.',
        )
        return False
    for name in strangers(config, fields.GENERATION_CONFIG):
        _explain_setting(name, f"{path}.{name}", found)
    if (rules.generation(model) or 0) >= rules.IGNORES_SAMPLING_FROM:
        for name in rules.SAMPLING:
            spelling, value = pick(config, name, snake(name))
            if value is not None:
                found.warn(f"{path}.{spelling}", f"{model} ignores `{spelling}`.", "Remove it.")
    mime = pick(config, "responseMimeType", "response_mime_type")[1]
    return (type(mime) is str and mime.strip().lower() == "application/json") or _format_is_json(config)


def _format_is_json(config: dict[str, object]) -> bool:
    """Whether ``responseFormat``, which nests the MIME type of text answers, asks for JSON."""
    form = pick(config, "responseFormat", "response_format")[1]
    text = form.get("text") if type(form) is dict else None
    mime = pick(text, "mimeType", "mime_type")[1] if type(text) is dict else None
    return mime in ("APPLICATION_JSON", "application/json")


def _explain_setting(name: str, field: str, found: Findings) -> None:
    """Explain a name that has another place or another name; :func:`conform` reports the rest."""
    shape = camel(name)
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
            if name in ("function", "type", "name", "parameters", "input_schema"):
                found.error(
                    f"{path}[{place}].{name}",
                    f"`{name}` is another provider's format for tools.",
                    'Write `{"functionDeclarations": [{"name": "…", "description": "…", "parameters": {…}}]}`.',
                )


def has_mcp_servers(tools: object) -> bool:
    """Whether any of the tools names MCP servers."""
    return type(tools) is list and any(
        type(tool) is dict and pick(tool, "mcpServers", "mcp_servers")[1] for tool in tools
    )


def schema_of(config: dict[str, object]) -> tuple[str, object]:
    """The response schema in ``generationConfig``, with the name of its field as it is spelled; None if it has none."""
    for camel_name in ("responseJsonSchema", "responseSchema"):
        name, schema = pick(config, camel_name, snake(camel_name))
        if schema is not None:
            return name, schema
    name, form = pick(config, "responseFormat", "response_format")
    text = form.get("text") if type(form) is dict else None
    return f"{name}.text.schema", text.get("schema") if type(text) is dict else None


def answer_schema(config: dict[str, object], path: str, found: Findings, *, expects_json: bool) -> bytes | None:
    """The JSON Schema that answers are compared with, as JSON; None if there is none, or none that can be used."""
    name, schema = schema_of(config)
    mime = pick(config, "responseMimeType", "response_mime_type")[1]
    if schema is None or not (expects_json or (type(mime) is str and mime.strip().lower() == "text/x.enum")):
        return None
    field = f"{path}.{name}"
    made = jsonl.encode(json_schema_of(schema) if camel(name) == "responseSchema" else lowered(schema))
    try:
        compile_schema(made)
    except NotASchema as error:
        if not found.has(field, severity="error") and not found.has_below(field):
            found.warn(
                field,
                f"Answers cannot be compared with this schema: {error}.",
                "Correct the schema. As it is, an answer only has to be JSON.",
            )
        return None
    return made
