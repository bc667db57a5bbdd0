"""The command that corrects a request file, as messages propose it.

A message about a line does not know its file: :data:`FIX` stands for the command until :func:`for_file` puts it in.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

from gemini_batch.errors import Next

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.errors import Problem


_PACKED = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip"})
_WHY = "writes a corrected copy"
FIX = str(Next("validate", "FILE", "--fix", "-o", "NEW"))


def fixed(path: Path) -> Next:
    """The command that writes a corrected copy of a file."""
    return Next("validate", str(path), "--fix", "-o", _new_path(path), why=_WHY)


def for_file(problems: Iterable[Problem], path: Path) -> list[Problem]:
    """The problems of a file, with its name in their commands."""
    command = fixed(path).typed()
    return [
        dataclasses.replace(one, next=one.next.replace(FIX, command)) if one.next and FIX in one.next else one
        for one in problems
    ]


def new_name(path: Path) -> str:
    """A name for the output of a suggested command, for a shell; never an existing file, which ``>`` would empty, nor
    that of the input."""
    return shlex.quote(_new_path(path))


def _new_path(path: Path) -> str:
    plain = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    target = plain.with_suffix(".jsonl")
    number = 1
    while target == path or target.exists():
        number += 1
        target = plain.with_name(f"{plain.stem}-{number}.jsonl")
    return str(target)
