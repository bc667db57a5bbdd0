"""Compares a request with the protocol's tables, and words what does not fit.

What another check has already explained at the same place is not repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.protocol.reading import Reader
from gemini_batch.protocol.spelling import camel, nearest, snake
from gemini_batch.protocol.tables import enums, names
from gemini_batch.validation import fields
from gemini_batch.validation.findings import clip, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_batch.protocol.judging import Broken
    from gemini_batch.protocol.reading import Place, Violation
    from gemini_batch.protocol.tables import Field
    from gemini_batch.validation.findings import Findings


class Terms(NamedTuple):
    """By what a request is judged: the model, empty if unknown, and whether only certain refusals are errors.

    ``prepared``: this program made the requests from a table, so they may name attachments by placeholders. ``vertex``:
    they are for Vertex AI, whose requests have labels, and whose files are in Cloud Storage.
    """

    model: str = ""
    lenient: bool = False
    prepared: bool = False
    vertex: bool = False


_NOUNS = {
    "GenerationConfig": "a setting",
    "EmbedContentConfig": "a setting",
    "Tool": "a tool",
    "Content": "a field of a content",
    "Part": "a field of a part",
    "GenerateContentRequest": "a field of a request",
    "EmbedContentRequest": "a field of an embedding request",
    "SafetySetting": "a field of a safety setting",
}
_EXPECTED = {
    "s": ("a string", "Write it as one string, in quotes."),
    "y": ("base64", "Encode the bytes in base64."),
    "b": ("true or false", "Write `true` or `false`, without quotes."),
    "i": ("a whole number", "Write a whole number, without quotes."),
    "l": ("a whole number", "Write a whole number, without quotes."),
    "f": ("a number", "Write a number, without quotes."),
    "t": ("a time such as `2026-01-31T08:00:00Z`", "Write date, time and time zone."),
    "d": ("a duration such as `3.5s`", "Write seconds, with an `s` at the end."),
    "o": ("an object", "Write its fields inside `{…}`."),
}
#: The fields that hold a schema of the OpenAPI subset, and the fields next to them that take JSON Schema.
_JSON_SCHEMA = {
    "responseSchema": "responseJsonSchema",
    "parameters": "parametersJsonSchema",
    "response": "responseJsonSchema",
}


def conform(
    message: str,
    request: dict[str, Any],
    found: Findings,
    judge: Callable[[Any], Iterable[Broken]],
    *,
    lenient: bool = False,
) -> None:
    """Add what does not fit a message, and what ``judge`` says about its canonical form."""
    reader = Reader()
    made = reader.read(message, request, ("request",))
    told: set[tuple[Place, str]] = set()
    for one in reader.violations:
        _tell(one, found, told, lenient=lenient)
    for place in reader.singles:
        if not found.has(field := _path(place)):
            found.warn(field, f"`{place[-1]}` should be a list.", "Enclose it in `[…]`.")
    for place in reader.newer:
        found.warn(
            _path(place),
            f"{clip(str(place[-1]))} is newer than the published description of the API.",
            "Try a few lines first. The service may reject it.",
        )
    for rule in judge(made):
        field = _path(("request", *spelled(request, rule.place)))
        around = field if rule.place and isinstance(rule.place[-1], int) else field.rpartition(".")[0]
        if rule.empty and found.has_below(around):
            continue
        if not found.has(field, severity="error"):
            (found.error if rule.certain or not lenient else found.warn)(field, rule.what, rule.fix)


def spelled(request: object, place: Place) -> Place:
    """A place in canonical names as the request spells it."""
    steps: list[str | int] = []
    value = request
    for step in place:
        if isinstance(step, int):
            if not isinstance(value, list):
                continue  # a single value for a list
            value = value[step] if step < len(value) else None
        elif isinstance(value, dict):
            if step not in value and snake(step) in value:
                step = snake(step)  # noqa: PLW2901 - the same step, as it is spelled
            value = value.get(step)
        steps.append(step)
    return tuple(steps)


def _path(place: Place) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)[1:]


def _tell(one: Violation, found: Findings, told: set[tuple[Place, str]], *, lenient: bool) -> None:
    field = _path(one.place)
    if found.has(field, severity="error") or (
        one.kind == "oneof" and found.has(_path(one.place[:-1]), severity="error")
    ):
        return
    if one.owner == "Schema" and (root := _schema_root(one.place)) is not None:
        word = one.name if one.name is not None else "type" if isinstance(one.value, list) else None
        if word is not None:
            if (root, word) not in told:
                told.add((root, word))
                _json_schema(word, str(root[-1]), field, found)
            return
    if one.name is not None:
        _unknown(one, field, found, lenient=lenient)
    elif one.kind == "depth":
        found.error(field, "The value is nested too deeply.", "The service accepts 100 levels.")
    elif one.kind == "oneof":
        found.error(
            field,
            f"`{one.place[-1]}` is there twice: the object has the same field, or one that excludes it.",
            "Remove one of them.",
        )
    elif one.field is not None:
        _wrong(one, one.field, field, found, lenient=lenient)
    else:
        found.error(field, f"The value is {kind(one.value)}; it must be an object.", "Write its fields inside `{…}`.")


def _schema_root(place: Place) -> Place | None:
    """The outermost field around a place that holds a schema."""
    for end, step in enumerate(place, 1):
        if isinstance(step, str) and camel(step) in _JSON_SCHEMA:
            return place[:end]
    return None


def _json_schema(word: str, root: str, field: str, found: Findings) -> None:
    near = fields.near(word, names("Schema"))
    what = "A list of types" if word == "type" else clip(word)
    instead = _JSON_SCHEMA[camel(root)]
    found.error(
        field,
        f"{what} is JSON Schema; `{root}` supports only a subset of OpenAPI.",
        f"Did you mean `{near}`?"
        if near and near != word
        else f"Rename `{root}` to `{instead if root == camel(root) else snake(instead)}`, which accepts JSON Schema.",
    )


def _unknown(one: Violation, field: str, found: Findings, *, lenient: bool) -> None:
    assert one.name is not None
    around = next((step for step in reversed(one.place[:-1]) if isinstance(step, str)), "request")
    noun = _NOUNS.get(one.owner) or f"a field of `{around}`"
    if meant := fields.near(one.name, names(one.owner)):
        found.error(field, f"{clip(one.name)} is not {noun}.", f"Did you mean `{meant}`?")
    elif lenient:
        found.warn(field, f"{clip(one.name)} is not {noun}.", "Check the spelling. The service may reject it.")
    else:
        found.error(
            field,
            f"{clip(one.name)} is not {noun}.",
            "Remove it. The service rejects unknown fields; --lenient sends them.",
        )


def _wrong(one: Violation, about: Field, field: str, found: Findings, *, lenient: bool) -> None:
    name, value = str(one.place[-1]), one.value
    if isinstance(one.place[-1], int):
        name = next((str(step) for step in reversed(one.place) if isinstance(step, str)), name)
    if about.shape == "map" and name == about.name:
        found.error(field, f"`{name}` is {kind(value)}; it must be an object.", "Write its fields inside `{…}`.")
    elif (known := enums().get(about.type)) is not None:
        if isinstance(value, str):
            (found.warn if lenient else found.error)(
                field, f"{clip(value)} is not a value of `{name}`.", nearest(value, known.values)
            )
        else:
            found.error(field, f"`{name}` is {kind(value)}; it must be one of its words.", nearest("", known.values))
    elif about.type in _EXPECTED:
        expected, fix = _EXPECTED[about.type]
        if about.type in "il" and isinstance(value, int) and not isinstance(value, bool):
            found.error(field, f"`{name}` is too large.", "Write a smaller number.")
        elif about.type in "ydt" and isinstance(value, str):
            found.error(field, f"`{name}` is not {expected}.", fix)
        else:
            found.error(field, f"`{name}` is {kind(value)}; it must be {expected}.", fix)
    else:
        found.error(field, f"`{name}` is {kind(value)}; it must be an object.", "Write its fields inside `{…}`.")
