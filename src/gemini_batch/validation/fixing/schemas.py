"""Schemas in the API's subset of OpenAPI: references inlined, and words left out that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.spelling import snake
from gemini_batch.validation.findings import pick
from gemini_batch.validation.fixing.exact import fresh

if TYPE_CHECKING:
    from gemini_batch.validation.fixing.notes import Notes, Object

_DEFINITIONS = ("$defs", "definitions")
#: What may stand next to a reference and in its target; the one next to the reference counts.
_ANNOTATIONS = frozenset({"title", "description", "default"})
#: A schema that grows beyond this many objects by inlining is left as it is.
_MOST = 10_000


class _NotInlined(Exception):
    """A reference leads elsewhere, nowhere, or into itself, or the schema becomes too large."""


def fix_schemas(request: Object, notes: Notes) -> None:
    """Fix ``responseSchema`` and the schemas of functions."""
    config = pick(request, "generationConfig", "generation_config")[1]
    if type(config) is dict:
        for name in ("responseSchema", "response_schema"):
            _fix(config, name, notes)
        _add_type(config, notes)
    tools = request.get("tools")
    for tool in tools if type(tools) is list else ():
        functions = pick(tool, "functionDeclarations", "function_declarations")[1] if type(tool) is dict else None
        for function in functions if type(functions) is list else ():
            if type(function) is dict:
                for name in ("parameters", "response"):
                    _fix(function, name, notes)


def _add_type(config: Object, notes: Notes) -> None:
    """Ask for JSON where an object or a list has a schema; a schema of words may be meant for ``text/x.enum``."""
    if pick(config, "responseMimeType", "response_mime_type")[1] is not None:
        return
    for name in ("responseSchema", "responseJsonSchema"):
        schema = pick(config, name, snake(name))[1]
        if type(schema) is dict and str(schema.get("type")).lower() in ("object", "array"):
            config.pop("response_mime_type", None)
            config["responseMimeType"] = "application/json"
            notes.add("added `responseMimeType`, which a schema requires")
            return


def _fix(around: Object, name: str, notes: Notes) -> None:
    schema = around.get(name)
    if type(schema) is not dict:
        return
    try:
        inlined = inline(schema)
    except _NotInlined:
        inlined = schema
    if inlined is not schema:
        notes.add(f"inlined the references in `{name}`")
    around[name] = _plain(inlined, name, notes)


def inline(schema: Object) -> Object:
    """The schema with each local ``$ref`` replaced by its definition, without definitions; the same if it has none.

    Raises an exception for a reference that cannot be replaced.
    """
    definitions = {name: schema[name] for name in _DEFINITIONS if type(schema.get(name)) is dict}
    if not definitions and not _refers(schema):
        return schema
    count = 0

    def made(value: Any, around: tuple[str, ...]) -> Any:
        nonlocal count
        count += 1
        if count > _MOST:
            raise _NotInlined
        if type(value) is list:
            return [made(one, around) for one in value]
        if type(value) is not dict:
            return value
        rest = {name: inner if name in ("default", "enum", "example", "const") else made_field(name, inner, around)
                for name, inner in value.items() if name != "$ref"}  # fmt: skip
        ref = value.get("$ref")
        if type(ref) is not str:
            return rest
        target = _target(definitions, ref)
        if ref in around or (target.keys() & rest.keys()) - _ANNOTATIONS:
            raise _NotInlined
        return {**made(target, (*around, ref)), **rest}

    def made_field(name: str, value: Any, around: tuple[str, ...]) -> Any:
        if name == "properties" and type(value) is dict:
            return {one: made(inner, around) for one, inner in value.items()}
        return made(value, around)

    found: Object = made({name: value for name, value in schema.items() if name not in definitions}, ("#",))
    return found


def _refers(value: Any) -> bool:
    if type(value) is list:
        return any(map(_refers, value))
    return type(value) is dict and (type(value.get("$ref")) is str or any(map(_refers, value.values())))


def _target(definitions: Object, ref: str) -> Object:
    hash_sign, _, path = ref.partition("/")
    found: Any = definitions
    if hash_sign != "#":
        raise _NotInlined
    for step in path.split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if type(found) is dict else None
    if type(found) is not dict:
        raise _NotInlined
    return fresh(found)  # type: ignore[no-any-return]


def _plain(schema: Any, root: str, notes: Notes) -> Any:
    """A schema without words that change nothing; words that mean something the subset cannot say stay."""
    if type(schema) is not dict:
        return schema
    made: Object = {}
    for name, value in schema.items():
        if name in ("additionalProperties", "additional_properties") and type(value) is bool:
            notes.add(f"removed `additionalProperties` from `{root}`")
        elif name == "$schema":
            notes.add(f"removed `$schema` from `{root}`")
        elif name == "properties" and type(value) is dict:
            made[name] = {one: _plain(inner, root, notes) for one, inner in value.items()}
        elif name in ("anyOf", "any_of") and type(value) is list:
            made[name] = [_plain(inner, root, notes) for inner in value]
        elif name == "items":
            made[name] = _plain(value, root, notes)
        elif name == "type" and type(value) is list and (kind := _nullable(value)) and "nullable" not in schema:
            notes.add(f"wrote a list of types in `{root}` as `nullable`")
            made |= {"type": kind, "nullable": True}
        elif name == "const" and type(value) is str and "enum" not in schema:
            notes.add(f"wrote `const` in `{root}` as `enum`")
            made["enum"] = [value]
        elif name == "allOf" and _replaces(value, schema):
            notes.add(f"replaced `allOf` with one schema in `{root}` by that schema")
            made |= _plain(value[0], root, notes)
        else:
            made[name] = value
    return made


def _replaces(value: Any, schema: Object) -> bool:
    """Whether the value of ``allOf`` is one schema, and has no word that stands next to it."""
    return type(value) is list and len(value) == 1 and type(value[0]) is dict and not value[0].keys() & schema.keys()


def _nullable(types: list[Any]) -> str | None:
    """The one type of a list that besides has only ``null``."""
    kinds = [one for one in types if one not in ("null", "NULL")]
    return kinds[0] if len(kinds) == 1 and len(types) == 2 and type(kinds[0]) is str else None
