"""Docstrings and comments: the names, files and references in them are those of the program."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from typing import TYPE_CHECKING

import pytest

from docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = ROOT / "src" / "gemini_batch"
MODULES = sorted(SOURCE.rglob("*.py"))
#: Names of events in JSON, which are made from their classes, and words about spelling.
OTHERS = {"job_seen", "run_progress", "snake_case"}
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))


def words_of(module: Path) -> Iterator[str]:
    """Its docstrings and comments."""
    text = module.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@cache
def known_names() -> frozenset[str]:
    """Every name in the code, every word in its strings, and the names of its modules."""
    found = {path.stem for path in MODULES} | OTHERS
    for path in [*MODULES, *SOURCE.rglob("*.toml")]:
        text = path.read_text("utf-8")
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    doc = ast.get_docstring(node, clean=False)
                    if doc is not None:
                        text = text.replace(doc, "")
            text = re.sub(r"#.*", "", text)
        found.update(re.findall(r"\w+", text))
    return frozenset(found)


@each_module
def test_names_in_docstrings_exist(module: Path) -> None:
    """``snake_case`` names, and what is referred to by role."""
    for words in words_of(module):
        names = [name for code in re.findall(r"``([^`]+)``", words) for name in re.findall(r"\b[a-z]+_[a-z_]+\b", code)]
        names += [target.rsplit(".", 1)[-1] for target in re.findall(r":\w+:`~?([\w.]+)`", words)]
        for name in names:
            assert name in known_names(), f"{module.name}: {name}"


@each_module
def test_files_in_docstrings_exist(module: Path) -> None:
    for words in words_of(module):
        for name in re.findall(r"\b(?:[\w-]+/)+[\w-]+\.(?:py|md|toml)\b", words):
            assert any((place / name).is_file() for place in (ROOT, SOURCE)), f"{module.name}: {name}"


def test_a_name_that_is_gone_is_noticed() -> None:
    """The check itself: it must not take a word of a docstring for a name of the code."""
    assert "a_name_that_is_gone" not in known_names()
    assert "poll_others_at" in known_names()
