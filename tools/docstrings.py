"""A griffe extension: the source of this project, written for ``help()``, as the site shows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    import ast

_ROLE = re.compile(r":[a-z]+:`~?(?:[\w.]+\.)?(\w+)`")
_SESSION = re.compile(r"(?:^>>> .*\n?(?:^(?!>>>).+\n?)*)+", re.MULTILINE)
_SKIP = re.compile(r"\s*# doctest: \+SKIP")


def as_markdown(text: str) -> str:
    """Roles as code, sessions at the prompt as blocks, ``::`` before an indented block as a colon."""
    text = _ROLE.sub(r"`\1`", text)
    text = _SESSION.sub(lambda found: f"```python\n{_SKIP.sub('', found[0]).rstrip()}\n```\n", text)
    return re.sub(r"^::$\n", "", text, flags=re.MULTILINE).replace("::\n", ":\n")


class ProjectDocstrings(griffe.Extension):
    """Docstrings become Markdown, and a function that is derived from another is shown like that one."""

    def on_instance(self, *, node: ast.AST | griffe.ObjectNode, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        del node, kwargs
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Called by griffe when the whole package has been read."""
        del loader, kwargs
        _derive(pkg, pkg)


def _derive(owner: griffe.Module | griffe.Class, package: griffe.Module) -> None:
    """Put a function in the place of each attribute ``name = wrapper(function)``; inner classes come first."""
    for inner in owner.members.values():
        if isinstance(inner, griffe.Module | griffe.Class):
            _derive(inner, package)
    for name, attribute in list(owner.members.items()):
        if isinstance(attribute, griffe.Attribute) and (origin := _origin(attribute, package)):
            first = 1 if isinstance(owner, griffe.Module) and isinstance(origin.parent, griffe.Class) else 0
            derived = griffe.Function(
                name,
                lineno=attribute.lineno,
                endlineno=attribute.endlineno,
                parameters=griffe.Parameters(*list(origin.parameters)[first:]),
                returns=origin.returns,
                docstring=origin.docstring,
            )
            owner.set_member(name, derived)


def _origin(attribute: griffe.Attribute, package: griffe.Module) -> griffe.Function | None:
    """The function of this package that an attribute wraps; None for any other attribute."""
    call = attribute.value
    if not isinstance(call, griffe.ExprCall) or len(call.arguments) != 1 or isinstance(call.arguments[0], str):
        return None
    path = call.arguments[0].canonical_path.removeprefix(f"{package.path}.")
    owner, _, name = path.rpartition(".")
    try:
        place = package[owner] if owner else package
        while name not in place.members and isinstance(place, griffe.Class):  # it may be that of a base class
            base = place.bases[0]
            place = package[("" if isinstance(base, str) else base.canonical_path).removeprefix(f"{package.path}.")]
        found = place.members[name]
    except (KeyError, IndexError, ValueError, griffe.AliasResolutionError):
        return None
    return found if isinstance(found, griffe.Function) else None
