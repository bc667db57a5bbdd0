"""Requests of OpenAI's clients as the API's own: a chat completion as a ``GenerateContentRequest``, an embedding.

Pure functions. A body that has another shape, or a name that the service does not know on these paths, is refused in
the service's words (400). What is refused for its values, the checks of native requests refuse.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.openai_names import AUDIO, JSON, MODES, SETTINGS
from gemini_batch.protocol.reading import Reader

_MEDIA_TYPES = {theirs: ours for ours, theirs in reversed(AUDIO.items())}
_CHOICES = {"auto": "AUTO", **{theirs: ours for ours, theirs in MODES.items()}}
_NUMBERS = {theirs: ours for ours, theirs in SETTINGS.items()}
#: Thinking budgets of Gemini 2.5 and thinking levels of later models, by ``reasoning_effort``.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_BUDGETED = "gemini-2.5"


class _Named(msgspec.Struct):
    """A function: its declaration, or in an earlier message its call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    arguments: str = "{}"


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _Named


class _Call(msgspec.Struct):
    function: _Named
    id: str | None = None
    extra_content: dict[str, Any] = {}


class _Url(msgspec.Struct):
    url: str


class _Audio(msgspec.Struct):
    data: str
    format: str


class _Piece(msgspec.Struct):
    """A part of a message; ``type`` names the field that it has."""

    type: str
    text: str | None = None
    image_url: _Url | str | None = None
    input_audio: _Audio | None = None


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Piece] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Chosen(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Chosen


class _Schema(msgspec.Struct):
    schema: dict[str, Any] | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Google(msgspec.Struct):
    google: dict[str, Any] = {}


class _Chat(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    extra_body: _Google | None = None


class _Embeddings(msgspec.Struct):
    model: str
    input: str | list[str]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class _Batch(msgspec.Struct):
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]


class Chat(NamedTuple):
    """A chat completion that is asked for: the model's name, the API's request, and how to send the answer."""

    model: str
    request: dict[str, Any]
    stream: bool
    include_usage: bool


class Embeddings(NamedTuple):
    """Embeddings that are asked for: one request of the API per input. ``base64``: how to send the vectors."""

    model: str
    requests: list[dict[str, Any]]
    base64: bool


def chat(value: Any, *, lenient: bool = False) -> Chat:
    """Read the body of a chat completion. Raises :class:`errors.ApiFailure` (400)."""
    body = _read(value, _Chat, lenient=lenient)
    model = body.model.removeprefix("models/")
    contents, system = _contents(body.messages)
    request: dict[str, Any] = {"contents": contents, "generationConfig": _settings(body, model)}
    if system:
        request["systemInstruction"] = {"parts": system}
    if body.tools:
        request["tools"] = [{"functionDeclarations": [_declared(tool.function) for tool in body.tools]}]
    if body.tool_choice is not None:
        request["toolConfig"] = {"functionCallingConfig": _chosen(body.tool_choice)}
    google = body.extra_body.google if body.extra_body else {}
    if cached := google.get("cached_content"):
        request["cachedContent"] = cached
    made = _canonical("GenerateContentRequest", request, lenient=lenient)
    usage = body.stream_options is not None and body.stream_options.include_usage
    return Chat(model, made, bool(body.stream), usage)


def embeddings(value: Any, *, lenient: bool = False) -> Embeddings:
    """Read the body of a request for embeddings. Raises :class:`errors.ApiFailure` (400)."""
    body = _read(value, _Embeddings, lenient=lenient)
    texts = [body.input] if isinstance(body.input, str) else body.input
    made: list[dict[str, Any]] = []
    for text in texts:
        request: dict[str, Any] = {"content": {"parts": [{"text": text}]}}
        if body.dimensions is not None:
            request["outputDimensionality"] = body.dimensions
        made.append(_canonical("EmbedContentRequest", request, lenient=lenient))
    return Embeddings(body.model.removeprefix("models/"), made, body.encoding_format == "base64")


def batch(value: Any, *, lenient: bool = False) -> tuple[str, str]:
    """Read the body that creates a batch: the name of the input file, and the endpoint of its rows.

    Raises :class:`errors.ApiFailure` (400).
    """
    body = _read(value, _Batch, lenient=lenient)
    return body.input_file_id, body.endpoint


_Body = TypeVar("_Body", bound=msgspec.Struct)


def _read(value: Any, kind: type[_Body], *, lenient: bool) -> _Body:
    if not isinstance(value, dict):
        raise errors.invalid("Invalid JSON payload received. Expected an object.")
    unknown = [name for name in value if name not in kind.__struct_fields__]
    if unknown and not lenient:
        raise errors.invalid_fields(
            [("", f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.') for name in unknown]
        )
    try:
        return msgspec.convert({name: value[name] for name in value if name not in unknown}, kind)
    except msgspec.ValidationError as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    except RecursionError:
        raise errors.invalid("Invalid JSON payload received. Message too deep.") from None


def _canonical(message: str, request: dict[str, Any], *, lenient: bool) -> dict[str, Any]:
    reader = Reader(lenient=lenient)
    made: dict[str, Any] = reader.read(message, request)
    if reader.violations:
        raise errors.invalid_fields([(found.path, found.described) for found in reader.violations])
    return made


def _contents(messages: list[_Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The contents and the parts of the system instruction."""
    contents: list[dict[str, Any]] = []
    system: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for place, message in enumerate(messages):
        match message.role:
            case "system" | "developer":
                system += _parts(message.content, place)
            case "user":
                contents.append({"role": "user", "parts": _parts(message.content, place)})
            case "assistant":
                contents.append({"role": "model", "parts": _said(message, place, called)})
            case "tool":
                part = _returned(message, place, called)
                before = contents[-1]["parts"] if contents else []
                if before and "functionResponse" in before[-1]:
                    before.append(part)
                else:
                    contents.append({"role": "user", "parts": [part]})
    return contents, system


def _parts(content: str | list[_Piece] | None, place: int) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}]
    return [_part(piece, f"messages[{place}].content[{number}]") for number, piece in enumerate(content or ())]


def _part(piece: _Piece, where: str) -> dict[str, Any]:
    match piece.type:
        case "text" if piece.text is not None:
            return {"text": piece.text}
        case "image_url" if piece.image_url is not None:
            url = piece.image_url if isinstance(piece.image_url, str) else piece.image_url.url
            return _linked(url, where)
        case "input_audio" if piece.input_audio is not None:
            kind = _MEDIA_TYPES.get(piece.input_audio.format, f"audio/{piece.input_audio.format}")
            return {"inlineData": {"mimeType": kind, "data": piece.input_audio.data}}
        case _:
            raise errors.invalid(f"Invalid content part type: {piece.type} at {where}")


def _linked(url: str, where: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"fileData": {"fileUri": url}}
    head, comma, data = url.removeprefix("data:").partition(",")
    kind, *options = head.split(";")
    if not comma or "base64" not in options:
        raise errors.invalid(f"Invalid data URL at {where}: expected data:MEDIA_TYPE;base64,DATA")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _said(message: _Message, place: int, called: dict[str, str]) -> list[dict[str, Any]]:
    """An earlier message of the model; its calls are remembered by id."""
    parts = _parts(message.content, place) if message.content else []
    for call in message.tool_calls or ():
        made: dict[str, Any] = {"name": call.function.name, "args": _object(call.function.arguments, place)}
        if call.id:
            made["id"] = call.id
            called[call.id] = call.function.name
        part: dict[str, Any] = {"functionCall": made}
        google = call.extra_content.get("google")
        if isinstance(google, dict) and google.get("thought_signature"):
            part["thoughtSignature"] = google["thought_signature"]
        parts.append(part)
    return parts


def _object(arguments: str, place: int) -> dict[str, Any]:
    try:
        value = jsonl.decode(arguments.encode("utf-8", "surrogatepass") or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.invalid(f"Invalid function arguments at messages[{place}].tool_calls: expected a JSON object")
    return value


def _returned(message: _Message, place: int, called: dict[str, str]) -> dict[str, Any]:
    """What a function returned: an object as it is, any other text as ``result``."""
    name = called.get(message.tool_call_id or "") or message.name
    if not name:
        raise errors.invalid(
            f"messages[{place}].tool_call_id: no earlier message has a function call with the id "
            f"{message.tool_call_id!r}, and the message has no name"
        )
    text = "".join(str(part.get("text", "")) for part in _parts(message.content, place))
    try:
        value = jsonl.decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        value = text
    made: dict[str, Any] = {"name": name, "response": value if isinstance(value, dict) else {"result": value}}
    if message.tool_call_id:
        made["id"] = message.tool_call_id
    return {"functionResponse": made}


def _settings(body: _Chat, model: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        ours: value for theirs, ours in _NUMBERS.items() if (value := getattr(body, theirs, None)) is not None
    }
    if body.max_completion_tokens is not None:
        made["maxOutputTokens"] = body.max_completion_tokens
    if thinking := _thinking(body, model):
        made["thinkingConfig"] = thinking
    wanted = body.response_format
    if wanted is not None and wanted.type != "text":
        made["responseMimeType"] = JSON
        if wanted.type == "json_schema":
            if wanted.json_schema is None or wanted.json_schema.schema is None:
                raise errors.invalid("response_format.json_schema.schema: the schema is missing")
            made["responseJsonSchema"] = wanted.json_schema.schema
    return made


def _thinking(body: _Chat, model: str) -> Any:
    google = body.extra_body.google if body.extra_body else {}
    made = google.get("thinking_config") or {}
    if unknown := [name for name in google if name not in ("thinking_config", "cached_content")]:
        place = "extra_body.google"
        said = f"Invalid JSON payload received. Unknown name \"{unknown[0]}\" at '{place}': Cannot find field."
        raise errors.invalid_fields([(place, said)])
    effort = body.reasoning_effort
    if effort is None:
        return made
    if effort not in _LEVELS:
        raise errors.invalid(f"Invalid reasoning_effort: {effort}. Valid values are: high, low, medium, minimal, none")
    if made:
        raise errors.invalid("Only one of reasoning_effort and extra_body.google.thinking_config may be set.")
    return {"thinkingBudget": _BUDGETS[effort]} if model.startswith(_BUDGETED) else {"thinkingLevel": _LEVELS[effort]}


def _declared(function: _Named) -> dict[str, Any]:
    made: dict[str, Any] = {"name": function.name}
    if function.description:
        made["description"] = function.description
    if function.parameters:
        made["parametersJsonSchema"] = function.parameters
    return made


def _chosen(choice: str | _Choice) -> dict[str, Any]:
    if isinstance(choice, _Choice):
        return {"mode": "ANY", "allowedFunctionNames": [choice.function.name]}
    if choice not in _CHOICES:
        raise errors.invalid(f"Invalid tool_choice: {choice}. Valid values are: {', '.join(_CHOICES)}, or a function")
    return {"mode": _CHOICES[choice]}
