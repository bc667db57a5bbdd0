"""Every rule: validation refuses what breaks it, and so does the emulator; leniently, only what is certain."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from gemini_batch.catalog import Method
from gemini_batch.emulator.engine import lines
from gemini_batch.protocol.checks import broken
from gemini_batch.protocol.reading import Reader
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line
from protocol.test_differential import refusal

TEXT: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
CALL = {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}
CERTAIN, LIKELY = True, False


class Rule(NamedTuple):
    """A request that breaks one rule, the field that is named, whether the refusal is certain, and the model."""

    request: dict[str, Any]
    field: str
    certain: bool
    model: str = ""


def config(**values: Any) -> dict[str, Any]:
    return {**TEXT, "generationConfig": values}


def part(value: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"parts": [value]}]}


def thinks(**values: Any) -> dict[str, Any]:
    return config(thinkingConfig=values)


def functions(*values: dict[str, Any]) -> dict[str, Any]:
    return {**TEXT, "tools": [{"functionDeclarations": list(values)}]}


def schema(**values: Any) -> dict[str, Any]:
    return config(responseMimeType="application/json", responseSchema=values)


def json_schema(value: Any) -> dict[str, Any]:
    return config(responseMimeType="application/json", responseJsonSchema=value)


CONFIG = "generationConfig"
THINKING = "generationConfig.thinkingConfig"
SCHEMA = "generationConfig.responseSchema"
JSON_SCHEMA = "generationConfig.responseJsonSchema"
FUNCTION = "tools[0].functionDeclarations[0]"
PART = "contents[0].parts[0]"
BUDGET = f"{THINKING}.thinkingBudget"
LEVEL = f"{THINKING}.thinkingLevel"
ARGON, PRO, FLASH = "gemini-4-argon", "gemini-2.5-pro", "gemini-3.8-flash"
HATE = {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "OFF"}
BLOB = {"mimeType": "image/png", "data": "AAAA"}

RULES = [
    # ranges
    Rule(config(temperature=3), f"{CONFIG}.temperature", LIKELY),
    Rule(config(temperature=-0.1), f"{CONFIG}.temperature", LIKELY),
    Rule(config(topP=1.5), f"{CONFIG}.topP", LIKELY),
    Rule(config(topK=-1), f"{CONFIG}.topK", LIKELY),
    Rule(config(candidateCount=0), f"{CONFIG}.candidateCount", CERTAIN),
    Rule(config(candidateCount=9), f"{CONFIG}.candidateCount", LIKELY),
    Rule(config(maxOutputTokens=0), f"{CONFIG}.maxOutputTokens", CERTAIN),
    Rule(config(maxOutputTokens=999_999), f"{CONFIG}.maxOutputTokens", LIKELY),
    Rule(config(presencePenalty=2.5), f"{CONFIG}.presencePenalty", LIKELY),
    Rule(config(frequencyPenalty=-3), f"{CONFIG}.frequencyPenalty", LIKELY),
    Rule(config(stopSequences=["a", "b", "c", "d", "e", "f"]), f"{CONFIG}.stopSequences", LIKELY),
    Rule(config(responseLogprobs=True, logprobs=21), f"{CONFIG}.logprobs", LIKELY),
    Rule(config(logprobs=2), f"{CONFIG}.logprobs", CERTAIN),
    Rule(thinks(thinkingBudget=-2), BUDGET, LIKELY),
    Rule(thinks(thinkingBudget=40_000), BUDGET, LIKELY),
    Rule(part({"text": "x", "videoMetadata": {"fps": 25}}), f"{PART}.videoMetadata.fps", LIKELY),
    # lists of words
    Rule(config(imageConfig={"aspectRatio": "7:5"}), f"{CONFIG}.imageConfig.aspectRatio", LIKELY),
    Rule(config(imageConfig={"imageSize": "3K"}), f"{CONFIG}.imageConfig.imageSize", LIKELY),
    Rule(config(responseMimeType="text/json"), f"{CONFIG}.responseMimeType", LIKELY),
    # models
    Rule(thinks(thinkingBudget=5), BUDGET, CERTAIN, ARGON),
    Rule(thinks(thinkingLevel="MINIMAL"), LEVEL, CERTAIN, ARGON),
    Rule(thinks(thinkingLevel="XHIGH"), LEVEL, LIKELY, FLASH),
    Rule(thinks(thinkingLevel="LOW"), LEVEL, LIKELY, "gemini-2.5-flash"),
    Rule(thinks(thinkingBudget=0), BUDGET, CERTAIN, PRO),
    Rule(thinks(thinkingBudget=127), BUDGET, CERTAIN, PRO),
    Rule(thinks(thinkingBudget=5, thinkingLevel="LOW"), BUDGET, CERTAIN),
    Rule(config(presencePenalty=0.5), f"{CONFIG}.presencePenalty", CERTAIN, ARGON),
    Rule(config(frequencyPenalty=0.5), f"{CONFIG}.frequencyPenalty", CERTAIN, ARGON),
    Rule(config(candidateCount=2), f"{CONFIG}.candidateCount", CERTAIN, ARGON),
    Rule({**TEXT, "cachedContent": "cachedContents/x"}, "cachedContent", LIKELY, ARGON),
    Rule({**TEXT, "cachedContent": "my-cache"}, "cachedContent", LIKELY),
    Rule({**TEXT, "cachedContent": "projects/p/locations/l/cachedContents/x"}, "cachedContent", LIKELY),
    Rule({"contents": [{"role": "model", "parts": [{"text": "x"}]}]}, "contents", LIKELY, ARGON),
    # contents
    Rule({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "contents[0].role", CERTAIN),
    Rule({"contents": [{"role": "tool", "parts": [{"text": "x"}]}]}, "contents[0].role", CERTAIN),
    Rule({"contents": []}, "contents", CERTAIN),
    Rule({"contents": [{"parts": []}]}, "contents[0].parts", CERTAIN),
    Rule(part({"thought": False}), PART, CERTAIN),
    Rule(part({"inlineData": {"data": "AAAA"}}), f"{PART}.inlineData.mimeType", CERTAIN),
    Rule(part({"inlineData": {"mimeType": "image/png"}}), f"{PART}.inlineData.data", CERTAIN),
    Rule(part({"inlineData": {**BLOB, "mimeType": "image/svg+xml"}}), f"{PART}.inlineData.mimeType", LIKELY),
    Rule(part({"inlineData": {**BLOB, "mimeType": "application/zip"}}), f"{PART}.inlineData.mimeType", LIKELY),
    Rule(part({"inlineData": {**BLOB, "data": "not base64!"}}), f"{PART}.inlineData.data", CERTAIN),
    Rule(part({"inlineData": {**BLOB, "data": "AAAAA"}}), f"{PART}.inlineData.data", CERTAIN),
    Rule(part({"fileData": {}}), f"{PART}.fileData.fileUri", CERTAIN),
    Rule(part({"functionCall": {"args": {}}, "thoughtSignature": "AAAA"}), f"{PART}.functionCall.name", CERTAIN),
    Rule(part({"functionResponse": {"response": {}}}), f"{PART}.functionResponse.name", CERTAIN),
    Rule(part({"functionResponse": {"name": "f"}}), f"{PART}.functionResponse.response", LIKELY),
    Rule(part({"text": "x", "videoMetadata": {"startOffset": "3"}}), f"{PART}.videoMetadata.startOffset", CERTAIN),
    # schemas
    Rule(config(responseSchema={"type": "STRING"}), SCHEMA, LIKELY),
    Rule(config(responseJsonSchema={"type": "string"}), JSON_SCHEMA, LIKELY),
    Rule({**schema(), CONFIG: {**schema()[CONFIG], "responseJsonSchema": {}}}, JSON_SCHEMA, LIKELY),
    Rule(schema(type="ARRAY"), f"{SCHEMA}.items", CERTAIN),
    Rule(schema(type="STRING", enum=["a", ""]), f"{SCHEMA}.enum[1]", LIKELY),
    Rule(schema(type="OBJECT", properties={"a": {}}, required=["b"]), f"{SCHEMA}.required[0]", CERTAIN),
    Rule(schema(**{"$ref": "#/x"}), f"{SCHEMA}.$ref", CERTAIN),
    Rule(schema(oneOf=[]), f"{SCHEMA}.oneOf", CERTAIN),
    Rule(schema(const="x"), f"{SCHEMA}.const", CERTAIN),
    Rule(schema(type=["STRING", "NULL"]), f"{SCHEMA}.type", CERTAIN),
    Rule(json_schema([1]), JSON_SCHEMA, LIKELY),
    Rule(json_schema({"properties": 5}), f"{JSON_SCHEMA}.properties", LIKELY),
    Rule(json_schema({"type": "text"}), f"{JSON_SCHEMA}.type", LIKELY),
    Rule(json_schema({"anyOf": []}), f"{JSON_SCHEMA}.anyOf", LIKELY),
    Rule(json_schema({"items": {"$ref": "#/$defs/a"}, "$defs": {}}), f"{JSON_SCHEMA}.items.$ref", LIKELY),
    # tools
    Rule(functions({"name": "1f"}), f"{FUNCTION}.name", CERTAIN),
    Rule(functions({"name": "f" * 129}), f"{FUNCTION}.name", CERTAIN),
    Rule(functions({"description": "f"}), f"{FUNCTION}.name", CERTAIN),
    Rule(functions(CALL, CALL), "tools[0].functionDeclarations[1].name", CERTAIN),
    Rule(functions({**CALL, "parametersJsonSchema": {}}), f"{FUNCTION}.parametersJsonSchema", LIKELY),
    Rule(functions({"name": "f", "parameters": {"$defs": {}}}), f"{FUNCTION}.parameters.$defs", CERTAIN),
    Rule(
        {**functions(CALL), "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}},
        "toolConfig.functionCallingConfig.allowedFunctionNames",
        LIKELY,
    ),
    Rule(
        {**TEXT, "tools": [{"googleSearch": {"timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}}}]},
        "tools[0].googleSearch.timeRangeFilter.endTime",
        LIKELY,
    ),
    Rule({**TEXT, "tools": [{"fileSearch": {}}]}, "tools[0].fileSearch.fileSearchStoreNames", LIKELY),
    Rule(
        {**TEXT, "tools": [{"googleSearch": {}}], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "toolConfig.functionCallingConfig",
        CERTAIN,
    ),
    # the rest
    Rule({**TEXT, "safetySettings": [{"threshold": "OFF"}]}, "safetySettings[0].category", CERTAIN),
    Rule(
        {**TEXT, "safetySettings": [{**HATE, "category": "HARM_CATEGORY_TOXICITY"}]},
        "safetySettings[0].category",
        LIKELY,
    ),
    Rule({**TEXT, "safetySettings": [HATE, HATE]}, "safetySettings[1].category", LIKELY),
    Rule({**TEXT, "cachedContent": "cachedContents/x", "tools": [{"googleSearch": {}}]}, "cachedContent", CERTAIN),
    Rule(
        config(
            speechConfig={
                "voiceConfig": {},
                "multiSpeakerVoiceConfig": {"speakerVoiceConfigs": [{"speaker": "a", "voiceConfig": {}}]},
            }
        ),
        f"{CONFIG}.speechConfig.multiSpeakerVoiceConfig",
        LIKELY,
    ),
    Rule({"content": {"parts": [{"text": ""}]}}, "content", CERTAIN),
    Rule({"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 0}, "outputDimensionality", CERTAIN),
    Rule({"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 3073}, "outputDimensionality", CERTAIN),
    # names and values that are in no table: leniently, they may be new
    Rule({**TEXT, "surprise": 1}, "surprise", LIKELY),
    Rule(config(responseModalities=["SMELL"]), f"{CONFIG}.responseModalities[0]", LIKELY),
]


@pytest.mark.parametrize("rule", RULES, ids=[f"{number}-{rule.field}" for number, rule in enumerate(RULES)])
def test_a_rule_is_kept_on_both_sides(rule: Rule) -> None:
    """Validation names the field; the emulator refuses the line or its row; leniently, neither does unless certain."""
    data = json.dumps({"key": "a", "request": rule.request}).encode()
    method = Method.EMBED if "content" in rule.request else Method.GENERATE
    for lenient in (False, True):
        found = check_line(data, 1, Terms(rule.model, lenient))
        problems = found.problems if isinstance(found, Checked) else found
        refused = rule.certain or not lenient
        severity = "error" if refused else "warning"
        assert (f"request.{rule.field}", severity) in {(one.field, one.severity) for one in problems}, problems
        assert isinstance(found, Checked) is not refused, problems
        assert (refusal(data, method, rule.model, lenient=lenient) is not None) is refused


@pytest.mark.parametrize("number", [number for number, rule in enumerate(RULES) if rule.model])
def test_a_rule_of_a_model_is_its_own(number: int) -> None:
    """Without a model, or for one of another generation, the line passes."""
    rule = RULES[number]
    data = json.dumps({"key": "a", "request": rule.request}).encode()
    for model in ("", "tunedModels/mine"):
        assert isinstance(check_line(data, 1, Terms(model)), Checked)
        assert refusal(data, Method.GENERATE, model) is None


def test_gemini_4_ignores_sampling() -> None:
    """Three settings have no effect: a warning each."""
    data = json.dumps({"key": "a", "request": config(temperature=1, topP=0.5, top_k=3)}).encode()
    assert check_line(data, 1) == check_line(data, 1, Terms(FLASH))
    found = check_line(data, 1, Terms(ARGON))
    assert isinstance(found, Checked)
    assert [one.field for one in found.problems] == [
        f"request.{CONFIG}.{name}" for name in ("temperature", "topP", "top_k")
    ]


def test_function_calls_need_their_signature() -> None:
    """From Gemini 3 on, and if the model is not known; the first call of a turn is enough."""
    call = {"functionCall": {"name": "f", "args": {}}}
    for parts, warned in (([call], True), ([{**call, "thoughtSignature": "c2ln"}, call], False)):
        request = {"contents": [{"role": "user", "parts": [{"text": "x"}]}, {"role": "model", "parts": parts}]}
        data = json.dumps({"key": "a", "request": request}).encode()
        for model, concerned in (("", True), (FLASH, True), (PRO, False)):
            found = check_line(data, 1, Terms(model))
            assert isinstance(found, Checked)
            fields = [one.field for one in found.problems]
            assert fields == ["request.contents[1].parts[0].thoughtSignature"] * (warned and concerned)


def test_a_verdict_on_settings_is_remembered_for_the_same_settings_only() -> None:
    """Other settings, other models and other terms are judged for themselves."""
    good, bad = config(temperature=1), config(temperature=3)
    for request, problems in ((good, 0), (bad, 1), (good, 0)):
        assert len(broken("GenerateContentRequest", request)) == problems
    minimal = thinks(thinkingLevel="MINIMAL")
    assert not broken("GenerateContentRequest", minimal, model=FLASH)
    assert broken("GenerateContentRequest", minimal, model=ARGON)
    lines_seen = [check_line(json.dumps({"key": "a", "request": bad}).encode(), number) for number in (1, 2)]
    assert [found[0].line for found in lines_seen if isinstance(found, tuple)] == [1, 2]


def test_nesting_has_a_limit() -> None:
    """As protobuf's, for messages; nothing fails at any depth."""
    for depth in (20, 99, 150, 400, 900, 5000):
        nested = '{"items":' * depth + "{}" + "}" * depth
        for name in ("responseSchema", "responseJsonSchema"):
            settings = f'{{"responseMimeType":"application/json","{name}":{nested}}}'
            request = f'{{"contents":[{{"parts":[{{"text":"x"}}]}}],"generationConfig":{settings}}}'
            data = f'{{"key":"a","request":{request}}}'.encode()
            found = check_line(data, 1)
            said = refusal(data, Method.GENERATE, "")
            if isinstance(found, Checked):
                assert said is None
            if name == "responseSchema":
                assert isinstance(found, Checked) is (depth < 90)


def test_the_emulator_says_it_in_the_services_words() -> None:
    """The message, the place in proto spelling, and what is wrong."""
    reader = Reader()
    made = reader.read("GenerateContentRequest", config(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": 1}))
    said = lines.refusal("generate", made, model="", lenient=True)
    assert said == (
        "* GenerateContentRequest.generation_config.thinking_config.thinking_budget: "
        "You can only set only one of thinking budget and thinking level.\n"
    )
