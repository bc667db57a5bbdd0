"""All fixers in the order in which they run. What none of them knows with certainty stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.validation.fixing.contents import fix_contents
from gemini_batch.validation.fixing.envelope import fix_line as fix_envelope
from gemini_batch.validation.fixing.exact import fresh
from gemini_batch.validation.fixing.notes import Notes
from gemini_batch.validation.fixing.schemas import fix_schemas
from gemini_batch.validation.fixing.settings import fix_embedding, fix_settings
from gemini_batch.validation.fixing.spelling import fix_names
from gemini_batch.validation.fixing.unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.validation.fixing.notes import Object

#: For requests of each kind, in this order: names and places before what is in them.
_FIXERS: dict[str, tuple[Callable[[Object, Notes], None], ...]] = {
    "EmbedContentRequest": (fix_embedding,),
    "GenerateContentRequest": (fix_settings, fix_contents, fix_schemas),
}


class Fixed(NamedTuple):
    """A line after all fixers, and what they changed."""

    value: Any
    changes: tuple[str, ...]


def fix_lines(value: Any, key_from: str | None = None) -> list[Fixed]:
    """The lines that a decoded value holds, each corrected; the value itself is not changed.

    ``key_from``: the dotted path of what becomes the key of a line without one. A line whose key is not known has none
    afterwards.
    """
    notes = Notes()
    try:
        return [_fixed(one, tuple(notes.changes), key_from) for one in unpack(fresh(value), notes)]
    except RecursionError:
        return [Fixed(value, ())]


def _fixed(line: Any, before: tuple[str, ...], key_from: str | None) -> Fixed:
    notes = Notes()
    if type(line) is dict:
        fix_envelope(line, notes, key_from)
        request = line.get("request")
        if type(request) is dict:
            fix_request(request, notes)
    changes = [one for one in notes.changes if not any(f"{one[:-1]}." in other for other in notes.changes)]
    return Fixed(line, (*before, *changes))


def fix_request(request: Object, notes: Notes) -> None:
    """Correct a request in its place."""
    embeds = request.get("content") is not None and request.get("contents") is None
    message = "EmbedContentRequest" if embeds else "GenerateContentRequest"
    fix_names(message, request, notes)
    for fixer in _FIXERS[message]:
        fixer(request, notes)
    # What was moved is looked through once more.
    fix_names(message, request, notes)
