"""The package's own source, read as syntax trees: nothing is guessed from what happens to be imported."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import gemini_batch

SOURCE = Path(gemini_batch.__file__).parent


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its dotted name, in order."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    """The classes at the top of a module."""
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def text_of(node: ast.AST | None) -> str | None:
    """The text of a string constant; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
