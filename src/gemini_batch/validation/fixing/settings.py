"""Fields of a request that are in another place, or that have another name: settings, tools, the SDK's ``config``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.spelling import camel, snake
from gemini_batch.protocol.tables import enums, messages
from gemini_batch.validation import fields
from gemini_batch.validation.findings import pick
from gemini_batch.validation.fixing import chat
from gemini_batch.validation.fixing.contents import content_of
from gemini_batch.validation.fixing.notes import put, rename
from gemini_batch.validation.fixing.spelling import fits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.protocol.tables import Field
    from gemini_batch.validation.fixing.notes import Notes, Object

_CONFIG = "request.generationConfig"
#: Fields of a request that the SDK has in its ``config``.
_BESIDE = frozenset({"systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "labels"})
#: What belongs to the job, to the SDK or to an interactive call; the value says nothing that a batch could do.
_NOTHING = frozenset(
    {"stream", "streamOptions", "httpOptions", "automaticFunctionCalling", "priority", "displayName",
     "shouldReturnHttpResponse"}
)  # fmt: skip
_PROMPTS = ("prompt", "text", "input")
_SYSTEM = ("system", "systemPrompt", "system_prompt")
#: Names of other providers for the length of a vector.
DIMENSIONS = ("dimensions", "dimension", "output_dimension", "outputDimension")


def fix_settings(request: Object, notes: Notes) -> None:
    """Put what a request for generation has next to ``contents`` into its place."""
    _unnest(request, notes)
    _remove_nothing(request, notes)
    _take_prompt(request, notes)
    _take_config(request, notes)
    _take_other_formats(request, notes)
    _place_settings(request, notes)
    config = pick(request, "generationConfig", "generation_config")[1]
    if type(config) is dict:
        _rename_settings(config, notes)
        _move_up(request, config, notes)


def fix_embedding(request: Object, notes: Notes) -> None:
    """Put what a request for an embedding has next to ``content`` into its place."""
    _unnest(request, notes)
    _remove_nothing(request, notes)
    made = content_of(request["content"], notes, "`content`")
    if made is not None:
        request["content"] = made
    if type(config := request.get("config")) is dict and put(
        request, ("embedContentConfig", "embed_content_config"), _without_nulls(config)
    ):
        del request["config"]
        notes.renamed("config", "embedContentConfig")
    for name in DIMENSIONS:
        if name in request and put(request, ("outputDimensionality", "output_dimensionality"), request[name]):
            del request[name]
            notes.renamed(name, "outputDimensionality")
    for name in [name for name in request if name in fields.EMBED_CONFIG and name not in fields.EMBED]:
        _move(request, name, "EmbedContentConfig", ("embedContentConfig",), notes)


def _unnest(request: Object, notes: Notes) -> None:
    """Take a request out of another one that has nothing else."""
    while type(inner := request.get("request")) is dict and not request.keys() & inner.keys() - {"request"}:
        rest = {name: value for name, value in request.items() if name != "request"}
        request.clear()
        request.update({**inner, **rest})
        notes.add("removed one of two levels of `request`")
    # The service gives the job's model in any case; only `models/…` is accepted here.
    if (model := request.get("model")) is not None and not (type(model) is str and model.startswith("models/")):
        del request["model"]
        notes.removed("model", "give the model of the job with `--model`")


def _remove_nothing(request: Object, notes: Notes) -> None:
    for name in list(request):
        if camel(name) in _NOTHING:
            del request[name]
            notes.removed(name, "it has no effect in a batch")
        elif name == "metadata" and type(request[name]) is dict and not request[name].keys() - {"key"}:
            del request[name]
            notes.removed(name)


def _take_prompt(request: Object, notes: Notes) -> None:
    """Make ``contents`` and ``systemInstruction`` of other names for them."""
    if request.get("contents") is None:
        found = [name for name in ("messages", *_PROMPTS, "parts") if request.get(name) is not None]
        if len(found) == 1:
            _take_contents(request, found[0], notes)
    for name in _SYSTEM:
        value = request.get(name)
        if value is not None and type(value) in (str, list, dict):
            parts = chat.parts_of(value)
            instruction = {"parts": parts} if parts else content_of(value, notes, "the system instruction")
            if instruction is not None and put(request, ("systemInstruction", "system_instruction"), instruction):
                del request[name]
                notes.renamed(name, "systemInstruction")


def _take_contents(request: Object, name: str, notes: Notes) -> None:
    value = request[name]
    system: list[Object] = []
    if name == "messages":
        made = chat.contents_of(value)
        if made is None or (made[1] and pick(request, "systemInstruction", "system_instruction")[1] is not None):
            return
        contents, system = made
    elif name == "parts" and type(value) in (list, dict):
        contents = [{"parts": value}]
        if type(role := request.get("role")) is str:
            contents = [{"role": role, "parts": value}]
            del request["role"]
    elif type(value) is str:
        contents = [{"parts": [{"text": value}]}]
    else:
        return
    request.pop("contents", None)
    rename(request, name, "contents", contents)
    notes.add("translated `messages` into `contents`" if name == "messages" else f"put `{name}` into `contents`")
    if system:
        request.pop("system_instruction", None)
        request["systemInstruction"] = {"parts": system}
        notes.add("moved system messages to `request.systemInstruction`")


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if type(value) is list else value


def _take_config(request: Object, notes: Notes) -> None:
    """Distribute the SDK's ``config``; what has another value in its right place stays."""
    config = request.get("config")
    if type(config) is not dict:
        return
    left: Object = {}
    for name, value in config.items():
        shape = camel(name)
        if value is None or shape in _NOTHING:
            continue
        if shape in _BESIDE:
            if not put(request, (shape, snake(shape)), _without_nulls(value)):
                left[name] = value
        else:
            inner = _inner(request, ("generationConfig",))
            known = name if name in fields.GENERATION_CONFIG else shape
            if inner is None or not put(inner, (known, *_other(known)), _without_nulls(value)):
                left[name] = value
    if left and len(left) == len(config):
        return
    if left:
        request["config"] = left
    else:
        del request["config"]
    notes.add(f"moved the settings in `config` to `{_CONFIG}` and `request`")


def _other(name: str) -> tuple[str, ...]:
    other = snake(name) if camel(name) == name else camel(name)
    return (other,) if other != name else ()


def _inner(around: Object, path: Iterable[str]) -> Object | None:
    """The object at a path, created where nothing is; None if something else is there."""
    for step in path:
        name, inner = pick(around, step, snake(step))
        if inner is None:
            around.pop(name, None)
            around[step] = inner = {}
        if type(inner) is not dict:
            return None
        around = inner
    return around


def _field_at(message: str, path: list[str]) -> Field:
    *around, name = path
    for step in around:
        message = messages()[message].lookup[step].type
    return messages()[message].lookup[name]


def _move(
    obj: Object,
    old: str,
    message: str,
    around: tuple[str, ...],
    notes: Notes,
    *,
    path: str = "",
    place: str = "request",
) -> None:
    """Move a field into an object at ``around`` in ``obj``, if its value fits there and no other one is there.

    ``message``: what that object is. ``path``: its place and name there, if they are not ``old``. ``place``: where
    ``obj`` is.
    """
    steps = (path or camel(old)).split(".")
    field, value = _field_at(message, steps), obj[old]
    if field.shape == "list" and type(value) is str:
        value = [value]
    if len(steps) > 1 and type(value) is str and (known := enums().get(field.type)) is not None:
        value = known.find(value) or value
    if value is None or not fits(field, value) or (inner := _peek(obj, (*around, *steps[:-1]))) is None:
        return
    name = camel(old) if steps == [camel(old)] else steps[-1]
    name = old if old in messages()[message].lookup else name
    if any(inner.get(one) is not None and inner[one] != value for one in (name, *_other(name))):
        return
    target = _inner(obj, (*around, *steps[:-1]))
    if target is not None and put(target, (name, *_other(name)), value):
        if target is not obj or name != old:
            del obj[old]
        notes.moved(old, ".".join((place, *around, *steps)))


def _peek(around: Object, path: Iterable[str]) -> Object | None:
    """The object at a path, or an empty one if there is none; None if something else is there."""
    for step in path:
        inner = pick(around, step, snake(step))[1]
        if inner is None:
            return {}
        if type(inner) is not dict:
            return None
        around = inner
    return around


def _take_other_formats(request: Object, notes: Notes) -> None:
    """Tools, the choice of a tool, and the format of answers, from OpenAI's names."""
    for name in ("response_format", "responseFormat"):
        made = chat.format_of(request.get(name))
        there = _peek(request, ("generationConfig",))
        if made is None or there is None:
            continue
        if all(pick(there, one, snake(one))[1] in (None, value) for one, value in made.items()):
            for one, value in made.items():
                if (config := _inner(request, ("generationConfig",))) is not None:
                    put(config, (one, snake(one)), value)
            del request[name]
            notes.add(f"translated `{name}` into settings of `{_CONFIG}`")
    for name in ("tools", "functions"):
        tools = request.get(name)
        declared = [chat.declared(one) for one in tools] if type(tools) is list and tools else [None]
        if None not in declared and (name == "tools" or request.get("tools") is None):
            del request[name]
            request["tools"] = [{"functionDeclarations": declared}]
            notes.add(f"translated `{name}` into `functionDeclarations`")
    for name in ("tool_choice", "toolChoice"):
        chosen = chat.choice_of(request.get(name))
        if chosen is not None and put(request, ("toolConfig", "tool_config"), {"functionCallingConfig": chosen}):
            del request[name]
            notes.add(f"translated `{name}` into `request.toolConfig`")


def _place_settings(request: Object, notes: Notes) -> None:
    """Move settings and tools that stand next to ``contents``."""
    for name in [name for name in request if name not in fields.GENERATE]:
        shape = camel(name)
        if shape == "responseFormat" and chat.format_of(request[name]) is not None:
            continue  # the format of another provider, which contradicts the settings
        if name in fields.GENERATION_CONFIG:
            _move(request, name, "GenerationConfig", ("generationConfig",), notes)
        elif shape in fields.SETTING_WORDS:
            path = fields.SETTING_WORDS[shape]
            _move(request, name, "GenerationConfig", ("generationConfig",), notes, path=path)
        elif name in fields.TOOL and type(request[name]) in (dict, list):
            tools = request.get("tools")
            if tools is None or type(tools) is list:
                value = request.pop(name)
                request["tools"] = [*(tools or ()), {name: value}]
                notes.moved(name, "request.tools")
        elif not fields.near(name, fields.GENERATE) and (meant := fields.near(name, fields.GENERATION_CONFIG)):
            _move(request, name, "GenerationConfig", ("generationConfig",), notes, path=meant)


def _rename_settings(config: Object, notes: Notes) -> None:
    """Give settings inside ``generationConfig`` their own names."""
    for name in [name for name in config if name not in fields.GENERATION_CONFIG]:
        if path := fields.SETTING_WORDS.get(camel(name)):
            _move(config, name, "GenerationConfig", (), notes, path=path, place=_CONFIG)
    name, speech = pick(config, "speechConfig", "speech_config")
    if type(speech) is str:
        config[name] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": speech}}}
        notes.add("wrote the name of the voice as `speechConfig`")


def _move_up(request: Object, config: Object, notes: Notes) -> None:
    """Move what does not belong in ``generationConfig`` next to it."""
    for name in list(config):
        shape = camel(name)
        if shape in _BESIDE and config[name] is not None and put(request, (shape, snake(shape)), config[name]):
            del config[name]
            notes.moved(name, f"request.{shape}")
