"""The types of JSON values, read from annotations."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference.source import classes, modules, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Kind:
    """One type: a plain one by its JSON name, a ``list`` or ``map`` of others, a fixed ``value``, an ``object``."""

    name: str
    inner: tuple[Kind, ...] = ()
    value: str = ""
    #: Of an object: the module of its class.
    module: str = ""


@dataclass(frozen=True)
class Field:
    """A field of an object: the types that it can have, and what it means."""

    name: str
    kinds: tuple[Kind, ...]
    meaning: str


#: A next step is printed as the command to type, with its reason in a field of its own.
NEXT_WHY = "Why that command, and whether it costs money."
_PLAIN = {"Any": "any value", "str": "string", "int": "integer", "float": "number", "bool": "boolean", "Next": "string"}
_LISTS = {"list", "tuple", "Sequence"}
_MAPS = {"dict", "Mapping"}


def kinds(node: ast.expr, module: str) -> tuple[Kind, ...]:
    """The alternatives that an annotation names. Raises LookupError for one that is not understood."""
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return tuple(dict.fromkeys(kinds(left, module) + kinds(right, module)))
        case ast.Constant(value=None):
            return (Kind("null"),)
        case ast.Name(id=name) if name in _PLAIN:
            return (Kind(_PLAIN[name]),)
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _LISTS:
            return (Kind("list", kinds(inner, module)),)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=[_, inner])) if name in _MAPS:
            return (Kind("map", kinds(inner, module)),)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return tuple(Kind("value", value=text_of(value) or ast.unparse(value)) for value in values)
        case ast.Name(id=name):
            return _named(name, module)
        case _:
            raise LookupError(f"{module}: {ast.unparse(node)} is not a type that JSON has")


def _named(name: str, module: str) -> tuple[Kind, ...]:
    """A class, an enum or an alias, in this module or where it is imported from."""
    tree = modules()[module]
    if found := classes(tree).get(name):
        if any("Enum" in ast.unparse(base) for base in found.bases):
            members = [node.value for node in found.body if isinstance(node, ast.Assign)]
            return tuple(Kind("value", value=text_of(member) or "") for member in members)
        return (Kind("object", value=name, module=module),)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=given)], value=value) if given == name:
                return kinds(value, module)
            case ast.ImportFrom(module=str(origin), names=names) if origin in modules():
                for alias in names:
                    if name == (alias.asname or alias.name):
                        return _named(alias.name, origin)
    raise LookupError(f"{module}: {name} is not known")


def fields(kind: Kind) -> list[Field]:
    """The fields of an object, inherited ones first. Raises LookupError for one without a docstring below it."""
    node = classes(modules()[kind.module])[kind.value]
    bases = [_base(base.id, kind.module) for base in node.bases if isinstance(base, ast.Name)]
    found = [field for base in bases if base is not None for field in fields(base)]
    for line, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(line.annotation):
            continue
        meaning = text_of(after.value) if isinstance(after, ast.Expr) else None
        if not meaning:
            raise LookupError(f"{kind.module}.{kind.value}.{line.target.id} needs a docstring below it")
        found.append(Field(line.target.id, kinds(line.annotation, kind.module), " ".join(meaning.split())))
        if "Next" in ast.unparse(line.annotation).split(" | "):
            found.append(Field(f"{line.target.id}_why", (Kind("string"), Kind("null")), NEXT_WHY))
    return found


def _base(name: str, module: str) -> Kind | None:
    """A base class of our own; None for anybody else's."""
    try:
        (kind,) = _named(name, module)
    except LookupError:
        return None
    return kind


def objects(found: tuple[Kind, ...]) -> Iterator[Kind]:
    """The objects in types, outermost first, each with those in its own fields; repeated as often as they occur."""
    for kind in found:
        yield from objects(kind.inner)
        if kind.name == "object":
            yield kind
            for field in fields(kind):
                yield from objects(field.kinds)


def words(found: tuple[Kind, ...], *, plural: bool = False) -> str:
    """Types in words, with links to the objects among them."""
    return " or ".join(_words(kind, plural=plural) for kind in found)


def _words(kind: Kind, *, plural: bool) -> str:
    match kind.name:
        case "value":
            return f"`{kind.value}`"
        case "object":
            return f"[{kind.value}](#{kind.value.lower()})"
        case "list":
            return f"list of {words(kind.inner, plural=True)}"
        case "map":
            return f"object of {words(kind.inner, plural=True)}"
        case "null":
            return "null"
        case name:
            return f"{name}s" if plural else name
