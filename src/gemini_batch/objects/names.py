"""Local files that stand in for objects, by the addresses of these: what is shown and recorded is the address."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini_batch.errors import Error, InvalidInput, Next

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
#: What addresses of files on this machine begin with.
_LOCAL = "file://"
#: Folders whose files stand in for objects, each with what addresses of these begin with.
_ROOTS: dict[str, str] = {}
#: Hashes of files that stand in for what is not fetched, each with that of what they stand in for.
_CONTENTS: dict[str, str] = {}


def stand_in(folder: Path | str, root: str) -> None:
    """From now on, files whose paths begin with ``folder`` stand in for the objects whose addresses begin with
    ``root``."""
    _ROOTS[str(folder)] = root


def forget(folders: Iterable[Path | str]) -> None:
    """The folders stand in for nothing any more."""
    for folder in folders:
        _ROOTS.pop(str(folder), None)


def has_content(sha256: str, content: str) -> None:
    """From now on, the file with this hash stands in for one with another hash."""
    _CONTENTS[sha256] = content


def content(sha256: str) -> str:
    """The hash of what a file stands in for; that of the file itself, if it stands in for nothing."""
    return _CONTENTS.get(sha256, sha256)


def said(text: str) -> str:
    """A text in which files that stand in for objects have the addresses of these."""
    for folder, root in tuple(_ROOTS.items()):  # a thread that fetches an object may add one meanwhile
        if folder in text:
            text = text.replace(folder, root)
    return text


def named(path: Path) -> str:
    """What a file is called: its path, or the address of the object that it stands in for."""
    return said(str(path))


def real(path: Path) -> Path:
    """Where a file is, without links; for one that stands in for an object or a table, where that is."""
    text = named(path)
    if text != str(path) and not text.startswith(_LOCAL):
        return Path(text)
    return Path(os.path.realpath(text.removeprefix(_LOCAL)))


def renamed(value: T) -> T:
    """A value of ours with addresses in all of its texts."""
    if not _ROOTS:
        return value
    found: T = _renamed(value)
    return found


def _renamed(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    match value:
        case str():
            return said(value)
        case Next():
            return Next(value.command, *map(said, value.args), why=said(value.why))
        case list():
            return [_renamed(inner) for inner in value]
        case tuple():
            return tuple(_renamed(inner) for inner in value)
        case dict():
            return {name: _renamed(inner) for name, inner in value.items()}
        case Error():
            return rename_error(value)
        case msgspec.Struct():
            return msgspec.structs.replace(
                value, **{name: _renamed(getattr(value, name)) for name in value.__struct_fields__}
            )
        case _ if is_dataclass(value) and not isinstance(value, type):
            told = {field.name: _renamed(getattr(value, field.name)) for field in fields(value) if field.init}
            return replace(value, **told)
        case _:
            return value


def rename_error(error: Error) -> Error:
    """The same error, with addresses in all of its texts."""
    error.message = said(error.message)
    error.args = (error.message,)
    error.file = None if error.file is None else said(error.file)
    error.next = _renamed(error.next)
    if isinstance(error, InvalidInput):
        error.problems = tuple(map(_renamed, error.problems))
    return error
