"""The chat format of other providers: messages as contents, tools and formats of answers as the API's own.

Each function returns None for what it cannot translate with certainty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.validation.fixing import exact

if TYPE_CHECKING:
    from gemini_batch.validation.fixing.notes import Object

ROLES = {"assistant": "model", "ai": "model", "bot": "model", "human": "user", "user": "user", "model": "model"}
SYSTEM = frozenset({"system", "developer"})
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3"}
_CHOICES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def contents_of(messages: object) -> tuple[list[Object], list[Object]] | None:
    """Messages as contents, and as the parts of a system instruction: the system messages before all others."""
    if type(messages) is not list or not messages:
        return None
    contents: list[Object] = []
    system: list[Object] = []
    called: dict[str, str] = {}
    for message in messages:
        if type(message) is not dict:
            return None
        role = message.get("role")
        if role in SYSTEM and not contents:
            parts = parts_of(message.get("content")) if _only(message, "role", "content", "name") else None
            system += parts or ()
        elif role == "tool":
            parts = _returned(message, called)
            if parts and contents and "functionResponse" in contents[-1]["parts"][-1]:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": "user", "parts": parts})
        else:
            parts = _said(message, called) if role == "assistant" else None
            if role in ROLES and role != "assistant" and _only(message, "role", "content", "name"):
                parts = parts_of(message.get("content"))
            contents.append({"role": ROLES.get(str(role)), "parts": parts})
        if not parts:
            return None
    return (contents, system) if contents else None


def _only(message: Object, *names: str) -> bool:
    return all(name in names or value is None for name, value in message.items())


def parts_of(content: object) -> list[Object] | None:
    """What a message says: a string, or a list of pieces."""
    if type(content) is str:
        return [{"text": content}]
    if type(content) is not list:
        return None
    parts = [part_of(piece) for piece in content]
    return None if None in parts else parts  # type: ignore[return-value]


def part_of(piece: object) -> Object | None:
    """A piece of a message as a part."""
    if type(piece) is str:
        return {"text": piece}
    if type(piece) is not dict:
        return None
    match piece:
        case {"type": "text" | "input_text", "text": str(text)} if len(piece) == 2:
            return {"text": text}
        case {"type": "image_url", "image_url": str(url) | {"url": str(url)}} if len(piece) == 2:
            return linked(url)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}} if form in _AUDIO:
            return {"inlineData": {"mimeType": _AUDIO[form], "data": data}}
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return {"inlineData": {"mimeType": kind, "data": data}}
        case _:
            return None


def linked(url: str) -> Object | None:
    """What an address refers to: inline data for a data URL, else a file."""
    if not url.startswith("data:"):
        return {"fileData": {"fileUri": url}}
    head, comma, data = url.removeprefix("data:").partition(",")
    kind, *options = head.split(";")
    return {"inlineData": {"mimeType": kind, "data": data}} if comma and kind and "base64" in options else None


def _said(message: Object, called: dict[str, str]) -> list[Object] | None:
    """An earlier message of the model, with its calls, which are remembered by their ids."""
    if not _only(message, "role", "content", "name", "tool_calls"):
        return None
    content = message.get("content")
    parts = [] if content in (None, "") else parts_of(content)
    for call in message.get("tool_calls") or ():
        match call:
            case {"id": str(given), "function": {"name": str(name), "arguments": str(arguments)}} if parts is not None:
                try:
                    args = exact.decode(arguments or "{}")
                except ValueError:
                    return None
                if type(args) is not dict:
                    return None
                called[given] = name
                parts.append({"functionCall": {"id": given, "name": name, "args": args}})
            case _:
                return None
    return parts


def _returned(message: Object, called: dict[str, str]) -> list[Object] | None:
    given, content = message.get("tool_call_id"), message.get("content")
    name = called.get(given) if type(given) is str else None
    if name is None or type(content) is not str or not _only(message, "role", "content", "name", "tool_call_id"):
        return None
    try:
        value: Any = exact.decode(content)
    except ValueError:
        value = content
    response = value if type(value) is dict else {"result": content}
    return [{"functionResponse": {"id": given, "name": name, "response": response}}]


def format_of(wanted: object) -> Object | None:
    """``response_format`` as settings."""
    match wanted:
        case {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"responseMimeType": "application/json"}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return {"responseMimeType": "application/json", "responseJsonSchema": schema}
        case _:
            return None


def declared(tool: object) -> Object | None:
    """A function among ``tools``, or among ``functions``, as its declaration."""
    if type(tool) is not dict:
        return None
    match tool:
        case {"type": "function", "function": dict(function)}:
            pass
        case {"name": str(), "parameters": dict()}:
            function = tool
        case {"name": str(), "input_schema": dict(schema)}:
            function = {name: value for name, value in tool.items() if name != "input_schema"} | {"parameters": schema}
        case _:
            return None
    if type(function.get("name")) is not str or not _only(function, "name", "description", "parameters", "strict"):
        return None
    made = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def choice_of(choice: object) -> Object | None:
    """``tool_choice`` as ``functionCallingConfig``."""
    match choice:
        case str() if choice in _CHOICES:
            return {"mode": _CHOICES[choice]}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"mode": "ANY", "allowedFunctionNames": [name]}
        case _:
            return None
