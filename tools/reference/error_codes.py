"""``docs/reference/error-codes.md``: every ``code`` of an error, collected from the source, and what to do about it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_batch.api.trouble import exit_code
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from reference.advice import ADVICE
from reference.source import classes, modules, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
# Error codes

With `--json`, an error is an object with a `code`; in Python it is `error.reason_code`. Programs should compare codes,
not messages. [Exit codes](../exit-codes.md) are coarser: many codes share one.

An `ApiError` for which this page has no code of its own carries the service's own status word in lower case, such as
`invalid_argument` or `permission_denied`.

This page is generated; `make docs-reference` writes it. `emulator` in the last column means that only the command
`emulator` and its Python interface raise the error.

| code | exit code | what to do | raised in |
| --- | --- | --- | --- |
"""


class UnknownCodeError(Exception):
    """A ``code=`` whose value cannot be read from the source."""


@dataclass
class Found:
    """Where a code was found, and with which exit codes."""

    exit_codes: set[int] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)


def page() -> str:
    """The whole page. Raises KeyError for a code without advice."""
    return INTRODUCTION + "".join(_row(code, found) for code, found in sorted(codes().items()))


def _row(code: str, found: Found) -> str:
    exits = ", ".join(map(str, sorted(found.exit_codes)))
    where = {_room(name) for name in found.modules}
    return f"| `{code}` | {exits} | {ADVICE[code]} | {', '.join(f'`{name}`' for name in sorted(where))} |\n"


def _room(module: str) -> str:
    name = module.removeprefix("gemini_batch.")
    return "emulator" if name.startswith("emulator") else name


def codes() -> dict[str, Found]:
    """Every code that an error of this package can carry."""
    errors = _error_classes()
    found: dict[str, Found] = {}
    for module, tree in modules().items():
        for kind, node in _values(tree, errors):
            for code in _constants(node, module) if node is not None else [errors[kind].code]:
                entry = found.setdefault(code, Found())
                entry.exit_codes |= _exit_codes(kind, errors[kind].exit_code, code)
                entry.modules.add(module)
    return found


#: With which statuses an ApiError of a code of its own comes; any other one can come with each of these.
_STATUSES = {"redirected": (302,), "job_not_found": (403, 404)}
_ANY_STATUS = (400, 403, 404, 429, 500)


def _exit_codes(kind: str, of_class: int, code: str) -> set[int]:
    """The exit codes of an error; what the service says ends a command as it is meant."""
    if of_class != ServiceError.exit_code:
        return {of_class}
    if kind == "ApiError":
        return {
            exit_code(ApiError("", status=status, reason="R", code=code)) for status in _STATUSES.get(code, _ANY_STATUS)
        }
    return {exit_code(NetworkError("", sent=True) if kind == "NetworkError" else ServiceError("", code=code))}


@dataclass(frozen=True)
class _Kind:
    code: str
    exit_code: int


def _error_classes() -> dict[str, _Kind]:
    """Each class of the error tree with its code and exit code, its own or inherited."""
    trees = [classes(tree) for tree in modules().values()]
    known: dict[str, _Kind] = {}
    grown = True
    while grown:
        grown = False
        for name, node in [pair for tree in trees for pair in tree.items()]:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            parent = next((known[base] for base in bases if base in known), None)
            if name not in known and (name == "Error" or parent is not None):
                code = text_of(_attribute(node, "code"))
                exit_code = _attribute(node, "exit_code")
                number = exit_code.value if isinstance(exit_code, ast.Constant) else None
                own = _Kind(code or "", number if isinstance(number, int) else 0)
                known[name] = _Kind(own.code or (parent or own).code, own.exit_code or (parent or own).exit_code)
                grown = True
    return known


def _attribute(node: ast.ClassDef, name: str) -> ast.expr | None:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=given)], value=value) if given == name:
                return value
            case ast.AnnAssign(target=ast.Name(id=given), value=value) if given == name:
                return value
    return None


def _values(tree: ast.Module, errors: dict[str, _Kind]) -> Iterator[tuple[str, ast.expr | None]]:
    """Each error made in a module, with the expression of its code; None where the class's own is used."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(ast.Name("errors"), name), keywords=keywords) if (
                name in errors
            ):
                given = [keyword.value for keyword in keywords if keyword.arg == "code"]
                yield name, given[0] if given else None
            case ast.Dict(keys=keys, values=values):
                # The advice on an HTTP status is a dictionary of arguments for ApiError.
                entries = {text_of(key): value for key, value in zip(keys, values, strict=True) if key is not None}
                if {"code", "next"} <= entries.keys() and text_of(entries["code"]) is not None:
                    yield "ApiError", entries["code"]
            case _:
                pass


def _constants(node: ast.expr, module: str) -> list[str]:
    """The codes that an expression can have; an error's own code handed on adds none."""
    match node:
        case ast.Constant(value=str(code)):
            return [code]
        case ast.IfExp(body=first, orelse=second):
            return _constants(first, module) + _constants(second, module)
        case ast.Attribute(attr="reason_code"):
            return []
        case _:
            raise UnknownCodeError(f"{module}:{node.lineno}: code={ast.unparse(node)} is not a text in the source")
