"""A griffe extension: the docstrings of this project, written for ``help()``, as Markdown for the site."""

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


class MarkdownDocstrings(griffe.Extension):
    """Rewrites every docstring as soon as it is read."""

    def on_instance(self, *, node: ast.AST | griffe.ObjectNode, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        del node, kwargs
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
