"""What of a message the service refuses as a whole: fields that exclude each other, and what a model does not support.

:func:`broken` is the entrance. The values stand in :mod:`rules`, with their sources.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.protocol import rules
from gemini_batch.protocol.json_schema import flaws
from gemini_batch.protocol.judging import Broken, Judge
from gemini_batch.protocol.spelling import nearest, snake
from gemini_batch.protocol.tables import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.protocol.reading import Place
    from gemini_batch.protocol.tables import Field

CACHE_CLASH = (
    "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config."
    " Proposed fix: move those values to CachedContent from GenerateContent request."
)
#: Longer settings (an image in the system instruction) are judged anew in every line instead of being kept in memory.
_KEPT = 64 * 1024


#: The field that says what to work on; everything else in a request is its settings.
CONTENTS = {"GenerateContentRequest": "contents", "EmbedContentRequest": "content"}


def broken(message: str, request: dict[str, Any], *, model: str = "") -> list[Broken]:
    """The rules that a ``GenerateContentRequest`` or ``EmbedContentRequest`` in canonical form breaks.

    What a request says next to its contents is the same in most lines of a file, so its verdict is remembered.
    """
    field = CONTENTS[message]
    found: list[Broken] = []
    if len(request) > (field in request):
        settings = jsonl.encode({name: value for name, value in request.items() if name != field})
        judged = _remembered if len(settings) <= _KEPT else _remembered.__wrapped__
        found += judged(message, settings, model)
    return found + broken_contents(message, request.get(field), model=model)


def broken_contents(message: str, value: Any, *, model: str = "") -> list[Broken]:
    """The rules that the contents of a request break."""
    return Judge(message, _CONTENTS, model).message(message, {CONTENTS[message]: value})


def broken_settings(message: str, request: dict[str, Any], *, model: str = "") -> list[Broken]:
    """The rules that the rest of a request breaks."""
    found = Judge(message, _SETTINGS, model).message(message, request)
    return [one for one in found if one.place[0] != CONTENTS[message]]


@lru_cache(maxsize=64)
def _remembered(message: str, settings: bytes, model: str) -> tuple[Broken, ...]:
    return tuple(broken_settings(message, jsonl.decode(settings), model=model))


def _exclusive(judge: Judge, name: str, value: dict[str, Any], place: Place) -> None:
    for message, one, other in rules.EXCLUSIVE:
        if message == name and value.get(one) is not None and value.get(other) is not None:
            judge.add(
                (*place, other),
                f"`{one}` and `{other}` exclude each other.",
                "Remove one of them.",
                f"only one of {snake(one)} and {snake(other)} may be set",
                certain=False,
            )


def _content(judge: Judge, content: dict[str, Any], place: Place) -> None:
    parts = content.get("parts")
    if not parts:
        judge.add(
            (*place, "parts"),
            "The content has no parts.",
            'Write `[{"text": "…"}]`.',
            "contents.parts must not be empty.",
        )
        return
    role = content.get("role")
    if not role or role in rules.ROLES or (place and place[0] == "systemInstruction"):
        return
    if role in rules.FUNCTION_ROLES and all(isinstance(part, dict) and "functionResponse" in part for part in parts):
        return
    judge.add(
        (*place, "role"),
        f"The role is `{str(role)[:40]}`; it must be `user` or `model`.",
        'Write `"user"`.',
        "Please use a valid role: user, model.",
    )


def _part(judge: Judge, part: dict[str, Any], place: Place) -> None:
    if not any(field.name in part for field in _data()):
        judge.add(
            place,
            "The part has no data.",
            'Write `{"text": "…"}`, or remove the part.',
            "required oneof field 'data' must have one initialized field",
            empty=True,
        )


@cache
def _data() -> tuple[Field, ...]:
    return tuple(field for field in messages()["Part"].fields if field.group)


def _blob(judge: Judge, blob: dict[str, Any], place: Place) -> None:
    mime_type = blob.get("mimeType") or ""
    if "/" not in mime_type:
        judge.add(
            (*place, "mimeType"), "`inlineData` has no MIME type.", 'Add it, for example `"mimeType": "image/png"`.'
        )
    elif not rules.is_media_type(mime_type):
        judge.add(
            (*place, "mimeType"),
            f"`{mime_type[:60]}` is not a MIME type that models read.",
            "Convert the data, for example to PDF or plain text.",
            f"Unsupported MIME type: {mime_type}",
            certain=False,
        )
    if not blob.get("data"):
        judge.add(
            (*place, "data"),
            "`inlineData` has no `data`.",
            'Add the bytes, in base64: `"data": "<base64>"`.',
            "data is not specified",
        )


def _file(judge: Judge, file: dict[str, Any], place: Place) -> None:
    uri = file.get("fileUri")
    if uri and (why := rules.unreadable_address(uri)):
        judge.add(
            (*place, "fileUri"),
            f"`fileUri` {why}; the service cannot read it.",
            "Upload the file and use the `uri` that the service returns, or put the bytes in `inlineData`.",
            f"Cannot fetch content from the provided URL: {uri[:200]}",
        )


def _config(judge: Judge, config: dict[str, Any], place: Place) -> None:
    _exclusive(judge, "GenerationConfig", config, place)
    mime_type = config.get("responseMimeType")
    if mime_type and mime_type.strip().lower() not in rules.RESPONSE_TYPES:
        judge.add(
            (*place, "responseMimeType"),
            f"`responseMimeType` is `{mime_type[:40]}`, which is not one of its values.",
            nearest(mime_type, rules.RESPONSE_TYPES),
            f"allowed mimetypes are {', '.join(f'`{one}`' for one in rules.RESPONSE_TYPES)}.",
        )
    for name in ("responseSchema", "responseJsonSchema"):
        if config.get(name) is not None and not mime_type:
            judge.add(
                (*place, name),
                "A response schema requires a MIME type.",
                'Add `"responseMimeType": "application/json"` next to it.',
                "only allowed when response_mime_type is application/json",
                certain=False,
            )
    if config.get("logprobs") is not None and not config.get("responseLogprobs"):
        judge.add(
            (*place, "logprobs"),
            "`logprobs` has an effect only with `responseLogprobs`.",
            'Add `"responseLogprobs": true` next to it.',
            "only allowed when response_logprobs is set",
            certain=False,
        )
    if config.get("responseJsonSchema") is not None:
        _json_schema(judge, config["responseJsonSchema"], (*place, "responseJsonSchema"))
    generation = judge.generation or 0
    if generation >= rules.ONE_CANDIDATE_FROM and (config.get("candidateCount") or 1) > 1:
        _refused(judge, (*place, "candidateCount"), f"{judge.model} writes only one candidate.")
    if generation >= rules.NO_PENALTIES_FROM:
        for name in ("presencePenalty", "frequencyPenalty"):
            if config.get(name) is not None:
                _refused(judge, (*place, name), f"{judge.model} does not support `{name}`.")


def _refused(judge: Judge, place: Place, what: str, fix: str = "Remove it.", *, certain: bool = True) -> None:
    judge.add(place, what, fix, f"not supported by the model {judge.model}", certain=certain)


def _thinking(judge: Judge, config: dict[str, Any], place: Place) -> None:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    generation = judge.generation
    if budget is not None and level is not None:
        # W, 2026: sterlp/eclipse-peon-ai#115.
        judge.add(
            (*place, "thinkingBudget"),
            "`thinkingBudget` and `thinkingLevel` exclude each other.",
            "Remove one of them: `thinkingLevel` is for Gemini 3 and later, `thinkingBudget` for Gemini 2.5.",
            "You can only set only one of thinking budget and thinking level.",
        )
    if generation is None:
        return
    if budget is not None and generation >= rules.NO_BUDGET_FROM:
        _refused(
            judge,
            (*place, "thinkingBudget"),
            f"{judge.model} does not support `thinkingBudget`.",
            'Write `"thinkingLevel": "LOW"`, `"MEDIUM"`, `"HIGH"` or `"XHIGH"` instead.',
        )
    if budget is not None and -1 < budget < 128 and rules.NO_ZERO_BUDGET.match(judge.model):
        judge.add(
            (*place, "thinkingBudget"),
            f"{judge.model} cannot think with a budget of {budget}.",
            "Write -1, or at least 128.",
            f"Budget {budget} is invalid. This model only works in thinking mode.",
        )
    if level == "MINIMAL" and generation >= rules.NO_MINIMAL_FROM:
        _refused(
            judge, (*place, "thinkingLevel"), f"{judge.model} does not support the level `MINIMAL`.", 'Write `"LOW"`.'
        )
    if level == "XHIGH" and generation < rules.XHIGH_FROM:
        _refused(
            judge,
            (*place, "thinkingLevel"),
            f"{judge.model} does not support the level `XHIGH`.",
            'Write `"HIGH"`.',
            certain=False,
        )
    if level is not None and generation < rules.LEVELS_FROM:
        _refused(
            judge,
            (*place, "thinkingLevel"),
            f"{judge.model} does not support `thinkingLevel`.",
            "Use `thinkingBudget`, a number of tokens.",
        )


def _schema(judge: Judge, schema: dict[str, Any], place: Place) -> None:
    # W, 2026: "items: missing field", "enum[0]: cannot be empty", "required[0]: property is not defined".
    if schema.get("type") == "ARRAY" and schema.get("items") is None:
        judge.add(
            (*place, "items"),
            "The schema of the array has no `items`.",
            'Add `"items": {"type": "STRING"}`.',
            "missing field.",
        )
    for number, word in enumerate(schema.get("enum") or ()):
        if word == "":
            judge.add((*place, "enum", number), "A word of `enum` is empty.", "Remove it.", "cannot be empty")
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for number, name in enumerate(schema.get("required") or ()):
            if name not in properties:
                judge.add(
                    (*place, "required", number),
                    f"`required` names `{str(name)[:40]}`, which is not in `properties`.",
                    "Correct the name, or remove it.",
                    "property is not defined",
                )


def _function(judge: Judge, function: dict[str, Any], place: Place) -> None:
    _exclusive(judge, "FunctionDeclaration", function, place)
    for field in ("parametersJsonSchema", "responseJsonSchema"):
        if function.get(field) is not None:
            _json_schema(judge, function[field], (*place, field))
    name = function.get("name")
    if name and not rules.FUNCTION_NAME.fullmatch(name):
        judge.add(
            (*place, "name"),
            f"`{name[:40]}` is not a valid function name.",
            "Begin with a letter or an underscore; then only letters, digits and `_.:-`, at most 128 characters.",
            "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), "
            "underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 128.",
        )


def _json_schema(judge: Judge, schema: object, place: Place) -> None:
    for flaw in flaws(schema):
        judge.add(
            (*place, *flaw.place),
            f"`{flaw.place[-1] if flaw.place else place[-1]}` must be {flaw.expected}.",
            "Write the schema as JSON Schema defines it.",
            "invalid JSON schema",
            certain=False,
        )


def _speech(judge: Judge, config: dict[str, Any], place: Place) -> None:
    _exclusive(judge, "SpeechConfig", config, place)


def _safety(judge: Judge, setting: dict[str, Any], place: Place) -> None:
    category = setting.get("category")
    if category is not None and category not in rules.HARM_CATEGORIES:
        judge.add(
            (*place, "category"),
            f"`{category}` is a category of older models.",
            nearest(category, rules.HARM_CATEGORIES),
            f"element predicate failed: $.category in ({', '.join(rules.HARM_CATEGORIES)})",
        )


def _calling(judge: Judge, config: dict[str, Any], place: Place) -> None:
    if config.get("allowedFunctionNames") and config.get("mode") not in ("ANY", "VALIDATED"):
        judge.add(
            (*place, "allowedFunctionNames"),
            "`allowedFunctionNames` has an effect only with the mode `ANY` or `VALIDATED`.",
            'Add `"mode": "ANY"` next to it.',
            "Please set mode to ANY to use allowed_function_names.",
            certain=False,
        )


def _interval(judge: Judge, interval: dict[str, Any], place: Place) -> None:
    if ("startTime" in interval) != ("endTime" in interval):
        absent = "endTime" if "startTime" in interval else "startTime"
        judge.add(
            (*place, absent),
            "A time range has both `startTime` and `endTime`.",
            f"Add `{absent}`.",
            "start_time and end_time must be set together",
            certain=False,
        )


def _contents(judge: Judge, request: dict[str, Any], place: Place) -> None:
    last = (request.get("contents") or [None])[-1]
    if (judge.generation or 0) >= rules.NO_MODEL_TURN_LAST_FROM and last and last.get("role") == "model":
        _refused(
            judge,
            (*place, "contents"),
            f"The last turn is the model's; {judge.model} does not continue it.",
            "End with a turn of the user.",
            certain=False,
        )


def _embedding(judge: Judge, request: dict[str, Any], place: Place) -> None:
    parts = (request.get("content") or {}).get("parts") or ()
    if parts and all(part.get("text") == "" for part in parts if isinstance(part, dict)):
        judge.add(
            (*place, "content"),
            "The text to embed is empty.",
            "Add text, or remove the line.",
            "content is not specified",
        )


def _request(judge: Judge, request: dict[str, Any], place: Place) -> None:
    together = [name for name in rules.IN_CACHE if request.get(name) not in (None, [])]
    if request.get("cachedContent"):
        if together:
            judge.add(
                (*place, "cachedContent"),
                f"`cachedContent` cannot be combined with {' and '.join(f'`{name}`' for name in together)}.",
                "Put them in the cached content when you create it, or do not use the cache.",
                CACHE_CLASH,
            )
        if (judge.generation or 0) >= rules.NO_CACHE_FROM:
            _refused(
                judge, (*place, "cachedContent"), f"{judge.model} does not support cached contents.", certain=False
            )
    names: set[str] = set()
    for tool_number, tool in enumerate(request.get("tools") or ()):
        for number, function in enumerate((tool or {}).get("functionDeclarations") or ()):
            name = (function or {}).get("name")
            if name and name in names:
                judge.add(
                    (*place, "tools", tool_number, "functionDeclarations", number, "name"),
                    f"The function `{name[:40]}` is declared twice.",
                    "Remove one declaration.",
                    f"Duplicate function declaration found: {name}",  # W, 2026
                )
            names.add(name or "")
    categories: set[str] = set()
    for number, setting in enumerate(request.get("safetySettings") or ()):
        category = (setting or {}).get("category")
        if category and category in categories:
            judge.add(
                (*place, "safetySettings", number, "category"),
                f"`{category}` has two settings.",
                "Remove one of them.",
                "there must be at most one setting for each category",  # D, schema text, 2026-08
                certain=False,
            )
        categories.add(category or "")


_ANYWHERE: dict[str, Callable[[Judge, dict[str, Any], Place], None]] = {
    "Content": _content,
    "Part": _part,
    "Blob": _blob,
    "FunctionResponseBlob": _blob,
    "FileData": _file,
    "GenerationConfig": _config,
    "ThinkingConfig": _thinking,
    "Schema": _schema,
    "FunctionDeclaration": _function,
    "SpeechConfig": _speech,
    "SafetySetting": _safety,
    "FunctionCallingConfig": _calling,
    "Interval": _interval,
}
_SETTINGS = {**_ANYWHERE, "GenerateContentRequest": _request}
_CONTENTS = {**_ANYWHERE, "GenerateContentRequest": _contents, "EmbedContentRequest": _embedding}
