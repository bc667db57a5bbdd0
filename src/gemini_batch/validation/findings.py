"""Collects all problems of one line while it is read, each with the path of its field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gemini_batch.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


#: A line can hold thousands of wrong parts; after this many errors, or warnings, the rest adds nothing.
MAX_FINDINGS = 20


class Findings:
    """The problems of one line, in the order in which they were found.

    ``prepared``: this program made the line from a table, so it may name attachments by placeholders. ``vertex``: it is
    for Vertex AI.
    """

    __slots__ = ("errors", "line", "prepared", "problems", "vertex", "warnings")

    def __init__(self, line: int, *, prepared: bool = False, vertex: bool = False) -> None:
        self.line = line
        self.prepared = prepared
        self.vertex = vertex
        self.problems: list[Problem] = []
        self.errors = 0
        self.warnings = 0

    def error(self, field: str | None, message: str, fix: str) -> None:
        """Add an error: the service would reject the line, or would not do what it says."""
        self.errors += 1
        if self.errors <= MAX_FINDINGS:
            self._add(field, message, fix, "error")

    def warn(self, field: str | None, message: str, fix: str) -> None:
        """Add a warning: the line can be sent, but part of it is probably a mistake."""
        self.warnings += 1
        if self.warnings <= MAX_FINDINGS:
            self._add(field, message, fix, "warning")

    def has(self, field: str, *, severity: Literal["error", "warning"] | None = None) -> bool:
        """Whether there is a finding about a field."""
        return any(one.field == field and severity in (None, one.severity) for one in self.problems)

    def has_below(self, field: str) -> bool:
        """Whether there is an error about something inside a field."""
        return any(one.severity == "error" and (one.field or "").startswith(f"{field}.") for one in self.problems)

    def take(self, problems: Iterable[Problem]) -> None:
        """Add findings that were made without a line number."""
        for one in problems:
            if one.severity == "error":
                self.error(one.field, one.message, str(one.next))
            else:
                self.warn(one.field, one.message, str(one.next))

    def _add(self, field: str | None, message: str, fix: str, severity: Literal["error", "warning"]) -> None:
        self.problems.append(Problem(message=message, line=self.line, field=field, next=fix, severity=severity))


def kind(value: object) -> str:
    """The type of a JSON value in words: ``a list``."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string" if value else "an empty string"
        case int() | float():
            return "a number"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "an object" if value else "an empty object"


def clip(text: str, limit: int = 40) -> str:
    """A name from the line, shortened for a message, in backquotes."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"`{shown.encode('unicode_escape').decode() if not shown.isprintable() else shown}`"


def pick(obj: Mapping[str, object], camel_name: str, snake_name: str) -> tuple[str, object]:
    """A field and the spelling in which the line has it; null counts as absent."""
    value = obj.get(camel_name)
    if value is None and snake_name in obj:
        return snake_name, obj[snake_name]
    return camel_name, value


def strangers(obj: Mapping[str, object], known: frozenset[str]) -> list[str]:
    """The names in ``obj`` that are not in the table, in the order of the line."""
    return [] if known.issuperset(obj) else [name for name in obj if name not in known]
