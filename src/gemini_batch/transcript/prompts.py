"""A request line as the conversation that the model is asked to continue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.jsonl import loads
from gemini_batch.protocol.spelling import camel
from gemini_batch.transcript.turns import Turn, pretty, turns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEM = "systemInstruction"
_CONTENTS = ("contents", "content")


def prompt_of(line: bytes) -> list[Turn]:
    """The turns of a request, in either spelling: the system instruction, the contents, and the settings.

    Nothing of the request is left out, except media. Never raises: a line of another shape is shown as it is.
    """
    try:
        request = loads(line)["request"]
        return list(_turns({camel(name): value for name, value in request.items()}))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return [Turn("user", line.decode(errors="replace"))]


def _turns(request: dict[str, Any]) -> Iterator[Turn]:
    if (instruction := request.get(_SYSTEM)) is not None:
        yield from _content(instruction, always="system")
    for name in _CONTENTS:
        contents = request.get(name)
        for content in contents if isinstance(contents, list) else [contents]:
            yield from _content(content)
    rest = {name: value for name, value in request.items() if name not in {_SYSTEM, *_CONTENTS} and value is not None}
    if rest:
        yield Turn("settings", pretty(rest))


def _content(content: object, *, always: str | None = None) -> Iterator[Turn]:
    """One content; without a role it is the user's. ``always``: the role, whatever the content says."""
    if not isinstance(content, dict) or "parts" not in content:
        if content:
            yield from turns_of(always or "user", content)
        return
    role = content.get("role")
    yield from turns_of(always or (role if isinstance(role, str) and role else "user"), content["parts"])
