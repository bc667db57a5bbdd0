"""Rules about everything next to the contents: settings, tools, schemas, safety, the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol import rules
from gemini_batch.protocol.json_schema import flaws
from gemini_batch.protocol.judging import refused
from gemini_batch.protocol.spelling import nearest, snake

if TYPE_CHECKING:
    from gemini_batch.protocol.judging import Judge
    from gemini_batch.protocol.reading import Place

CACHE_CLASH = (
    "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config."
    " Proposed fix: move those values to CachedContent from GenerateContent request."
)


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


def config(judge: Judge, config: dict[str, Any], place: Place) -> None:
    _exclusive(judge, "GenerationConfig", config, place)
    mime_type = config.get("responseMimeType")
    if mime_type and mime_type.strip().lower() not in rules.RESPONSE_TYPES:
        judge.add(
            (*place, "responseMimeType"),
            f"`responseMimeType` is `{mime_type[:40]}`, which is not one of its values.",
            nearest(mime_type, rules.RESPONSE_TYPES),
            f"allowed mimetypes are {', '.join(f'`{one}`' for one in rules.RESPONSE_TYPES)}.",
            certain=False,
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
            "only allowed if response_logprobs is true",  # S, 2026-11
        )
    if config.get("responseJsonSchema") is not None:
        _json_schema(judge, config["responseJsonSchema"], (*place, "responseJsonSchema"))
    generation = judge.generation or 0
    if generation >= rules.ONE_CANDIDATE_FROM and (config.get("candidateCount") or 1) > 1:
        refused(judge, (*place, "candidateCount"), f"{judge.model} writes only one candidate.")
    if generation >= rules.NO_PENALTIES_FROM:
        for name in ("presencePenalty", "frequencyPenalty"):
            if config.get(name) is not None:
                refused(judge, (*place, name), f"{judge.model} does not support `{name}`.")


def thinking(judge: Judge, config: dict[str, Any], place: Place) -> None:
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
        refused(
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
        refused(
            judge, (*place, "thinkingLevel"), f"{judge.model} does not support the level `MINIMAL`.", 'Write `"LOW"`.'
        )
    if level == "XHIGH" and generation < rules.XHIGH_FROM:
        refused(
            judge,
            (*place, "thinkingLevel"),
            f"{judge.model} does not support the level `XHIGH`.",
            'Write `"HIGH"`.',
            certain=False,
        )
    if level is not None and generation < rules.LEVELS_FROM:
        refused(
            judge,
            (*place, "thinkingLevel"),
            f"{judge.model} does not support `thinkingLevel`.",
            "Use `thinkingBudget`, a number of tokens.",
            certain=False,
        )


def schema(judge: Judge, schema: dict[str, Any], place: Place) -> None:
    # W: "items: missing field" (cline#7926), "required[0]: property is not defined" (AIStudioToAPI#154). That a word
    # cannot be empty is likely.
    if schema.get("type") == "ARRAY" and schema.get("items") is None:
        judge.add(
            (*place, "items"),
            "The schema of the array has no `items`.",
            'Add `"items": {"type": "STRING"}`.',
            "missing field.",
        )
    for number, word in enumerate(schema.get("enum") or ()):
        if word == "":
            judge.add(
                (*place, "enum", number), "A word of `enum` is empty.", "Remove it.", "cannot be empty", certain=False
            )
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


def function(judge: Judge, function: dict[str, Any], place: Place) -> None:
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


def speech(judge: Judge, config: dict[str, Any], place: Place) -> None:
    _exclusive(judge, "SpeechConfig", config, place)


def safety(judge: Judge, setting: dict[str, Any], place: Place) -> None:
    category = setting.get("category")
    if category is not None and category not in rules.HARM_CATEGORIES:
        judge.add(
            (*place, "category"),
            f"`{category}` is not a category of Gemini models.",
            nearest(category, rules.HARM_CATEGORIES),
            f"must be one of {', '.join(rules.HARM_CATEGORIES)}",
            certain=False,
        )


def calling(judge: Judge, config: dict[str, Any], place: Place) -> None:
    if config.get("allowedFunctionNames") and config.get("mode") not in ("ANY", "VALIDATED"):
        judge.add(
            (*place, "allowedFunctionNames"),
            "`allowedFunctionNames` has an effect only with the mode `ANY` or `VALIDATED`.",
            'Add `"mode": "ANY"` next to it.',
            "Please set mode to ANY to use allowed_function_names.",
            certain=False,
        )


def interval(judge: Judge, interval: dict[str, Any], place: Place) -> None:
    begins, ends = (interval.get(name) is not None for name in ("startTime", "endTime"))
    if begins != ends:
        absent = "endTime" if begins else "startTime"
        judge.add(
            (*place, absent),
            "A time range has both `startTime` and `endTime`.",
            f"Add `{absent}`.",
            "start_time and end_time must be set together",
            certain=False,
        )


def request(judge: Judge, request: dict[str, Any], place: Place) -> None:
    together = [name for name in rules.IN_CACHE if request.get(name) not in (None, [])]
    if name := request.get("cachedContent"):
        if not rules.CACHE_NAME.fullmatch(name):
            judge.add(
                (*place, "cachedContent"),
                "`cachedContent` must be the name of a cache, such as `cachedContents/abc123`.",
                "Use the `name` that the service returned when the cache was created.",
                "must be of the form cachedContents/{id}",
                certain=False,
            )
        if together:
            judge.add(
                (*place, "cachedContent"),
                f"`cachedContent` cannot be combined with {' and '.join(f'`{name}`' for name in together)}.",
                "Put them in the cached content when you create it, or do not use the cache.",
                CACHE_CLASH,
            )
        if (judge.generation or 0) >= rules.NO_CACHE_FROM:
            refused(judge, (*place, "cachedContent"), f"{judge.model} does not support cached contents.", certain=False)
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig")
    tools = [tool for tool in request.get("tools") or () if tool]
    functions = any(tool.get("functionDeclarations") or tool.get("mcpServers") for tool in tools)
    if calling and not functions and not request.get("cachedContent"):
        judge.add(
            (*place, "toolConfig", "functionCallingConfig"),
            "`functionCallingConfig` is set, but no function is declared.",
            "Remove it, or add `functionDeclarations` to `tools`.",
            "Function calling config is set without function_declarations.",  # W: claude-code-router#1207
        )
    names: set[str] = set()
    for tool_number, tool in enumerate(request.get("tools") or ()):
        for number, function in enumerate((tool or {}).get("functionDeclarations") or ()):
            named = (function or {}).get("name")
            if named and named in names:
                judge.add(
                    (*place, "tools", tool_number, "functionDeclarations", number, "name"),
                    f"The function `{named[:40]}` is declared twice.",
                    "Remove one declaration.",
                    f"Duplicate function declaration found: {named}",  # W: Open-WebUI-Functions#135
                )
            names.add(named or "")
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
