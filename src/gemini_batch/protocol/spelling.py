"""The two spellings of a name, and the right word that a wrong one resembles."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_UNDERSCORE = re.compile(r"_([a-z0-9])")
_PLAIN = re.compile(r"[^a-z0-9]+")
#: More words than these are not listed in a message.
_LISTED = 12


def snake(name: str) -> str:
    """``maxOutputTokens`` -> ``max_output_tokens``, the proto spelling."""
    return _HUMP.sub(lambda hump: "_" + hump[1].lower(), name)


def camel(name: str) -> str:
    """``max_output_tokens`` -> ``maxOutputTokens``; a leading underscore is kept."""
    return _UNDERSCORE.sub(lambda bar: bar[1].upper(), name) if "_" in name[1:] else name


def nearest(value: str, words: Iterable[str]) -> str:
    """What to write instead of a value that is none of the words: the nearest one, else the list of them."""
    known = [word for word in words if not word.endswith("UNSPECIFIED")]
    if found := _near(value, known):
        return f"Did you mean `{found}`?"
    listed = ", ".join(f"`{word}`" for word in known[:_LISTED])
    return f"Use one of these: {listed}{', …' if len(known) > _LISTED else ''}."


def _near(value: str, known: list[str]) -> str | None:
    """The word with the same letters or parts, the only one that ends or begins with them, or the most similar one."""
    shape = _PLAIN.sub("", value[:80].lower())
    shapes = {_PLAIN.sub("", word.lower()): word for word in known}
    if shape in shapes:
        return shapes[shape]
    parts = sorted(_PLAIN.split(value[:80].lower()))
    if same := [word for word in known if sorted(_PLAIN.split(word.lower())) == parts]:
        return same[0]
    if len(shape) > 2:
        around = [word for form, word in shapes.items() if form.endswith(shape) or form.startswith(shape)]
        if len(around) == 1:
            return around[0]
    # What all words begin with says nothing about their likeness.
    first, last = min(shapes, default=""), max(shapes, default="")
    prefix = first[: next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)]
    ends = {form.removeprefix(prefix): word for form, word in shapes.items()}
    close = difflib.get_close_matches(shape.removeprefix(prefix), ends, n=1, cutoff=0.7)
    return ends[close[0]] if close else None
