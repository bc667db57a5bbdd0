"""What the fixers of one line have changed, in words; the same words for the same change in every line."""

from __future__ import annotations

from typing import Any

from gemini_batch.validation.findings import clip

Object = dict[str, Any]


class Notes:
    """The changes to one line, in order, each once."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: dict[str, None] = {}

    def add(self, change: str) -> None:
        """Note a change, as the end of a sentence: ``moved `a` to `b```."""
        self.changes[change] = None

    def renamed(self, old: str, new: str) -> None:
        """Note a name that was replaced."""
        self.add(f"renamed {clip(old)} to `{new}`")

    def moved(self, old: str, place: str) -> None:
        """Note a field that has another place now."""
        self.add(f"moved {clip(old)} to `{place}`")

    def removed(self, name: str, why: str = "") -> None:
        """Note a field that is gone."""
        self.add(f"removed {clip(name)}{f' ({why})' if why else ''}")


def rename(obj: Object, old: str, new: str, value: object) -> None:
    """Put ``value`` as ``new`` in the place of ``old``; the order of the fields stays."""
    items = [(new, value) if name == old else (name, item) for name, item in obj.items()]
    obj.clear()
    obj.update(items)


def taken(obj: Object, *names: str) -> bool:
    """Whether one of the names has a value; null counts as absent."""
    return any(obj.get(name) is not None for name in names)


def put(obj: Object, names: tuple[str, ...], value: object) -> bool:
    """Put a value where none is, under the first of the names that are one field's. False if another value is there."""
    for name in names:
        if obj.get(name) is not None:
            return bool(obj[name] == value)
    for name in names:
        obj.pop(name, None)
    obj[names[0]] = value
    return True
