"""The settings of a request: from options, a request file and ``--set``, to fields of the service."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_batch.tables.making.template import Templates

#: Tools that need no configuration, by the names that people write.
TOOLS = {
    "google-search": "googleSearch",
    "url-context": "urlContext",
    "code-execution": "codeExecution",
    "google-maps": "googleMaps",
}
_LEVELS = ("minimal", "low", "medium", "high")
_BUDGETS = {"off": 0, "auto": -1}


def assigned(pair: str, *, embed: bool) -> tuple[tuple[str, ...], object]:
    """``path=value`` of ``--set``: the path from the request down, and the value. Raises UsageError.

    A setting of ``generationConfig`` may be named without it. The value is JSON, or else text.
    """
    path, equals, value = pair.partition("=")
    if not equals or not path.strip("."):
        raise UsageError(
            f"{pair!r} is not PATH=VALUE.",
            field="--set",
            code="bad_argument",
            next="Write, for example, --set topK=40 or --set safetySettings='[…]'.",
        )
    try:
        read: object = msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        read = value
    return placed(path.split("."), "--set", embed=embed), read


def placed(path: Sequence[str], field: str, *, embed: bool) -> tuple[str, ...]:
    """The path of a setting from the request down, in the service's spelling. Raises UsageError for unknown names."""
    first = camel(path[0])
    known, config = (fields.EMBED, fields.EMBED_CONFIG) if embed else (fields.GENERATE, fields.GENERATION_CONFIG)
    rest = tuple(camel(name) if name in fields.GENERATION_CONFIG else name for name in path[1:])
    if first in known and first not in {"contents", "content"}:
        return (first, *rest)
    if not embed and first in config:
        return ("generationConfig", first, *rest)
    names = {name.lower(): name for name in sorted(map(camel, known | config))}
    near = [names[word] for word in difflib.get_close_matches(first.lower(), names, 1)]
    raise UsageError(
        f"`{'.'.join(path)}` is not a setting of a request.",
        field=field,
        code="bad_setting_path",
        next=f"Did you mean `{near[0]}`?" if near else "Write the service's own name, for example topK.",
    )


def put(request: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Set the value at a path; objects on the way are made."""
    for name in path[:-1]:
        inner = request.get(name)
        if not isinstance(inner, dict):
            inner = request[name] = {}
        request = inner
    request[path[-1]] = value


def thinking(word: str) -> dict[str, object]:
    """``--thinking`` as a thinkingConfig: a level, a budget in tokens, ``off`` or ``auto``. Raises UsageError."""
    if word.lower() in _LEVELS:
        return {"thinkingLevel": word.upper()}
    if word.lower() in _BUDGETS:
        return {"thinkingBudget": _BUDGETS[word.lower()]}
    if word.isdecimal():
        return {"thinkingBudget": int(word)}
    raise UsageError(
        f"{word!r} is neither a level nor a budget of thinking.",
        field="--thinking",
        code="bad_argument",
        next=f"Use {', '.join(_LEVELS)}, off, auto, or a number of tokens.",
    )


def tools(names: Sequence[object]) -> list[object]:
    """Tools by name, or as the service writes them. Raises UsageError for an unknown name."""
    made: list[object] = []
    for name in names:
        if isinstance(name, str):
            known = TOOLS.get(name.lower().replace("_", "-")) or next((n for n in TOOLS.values() if n == name), None)
            if known is None:
                raise UsageError(
                    f"There is no tool {name!r}.",
                    field="--tool",
                    code="bad_argument",
                    next=f"Use {', '.join(TOOLS)}; declare functions in a request file.",
                )
            made.append({known: {}})
        else:
            made.append(name)
    return made


class Varying:
    """Settings of which some are templates: a template that is one column gives the column's own value.

    A null leaves its setting out.
    """

    def __init__(self, settings: Mapping[str, Any], templates: Templates, field: str) -> None:
        self._templates = templates
        self._field = field
        self.columns: list[str] = []
        self._tree = self._compiled(dict(settings), field)

    @property
    def varies(self) -> bool:
        """Whether the settings of two rows can differ."""
        return bool(self.columns)

    def of(self, row: Sequence[Any]) -> dict[str, Any]:
        """The settings for a row. Raises RenderError."""
        made: dict[str, Any] = self._rendered(self._tree, row)
        return made

    def _compiled(self, value: object, field: str) -> object:
        if isinstance(value, dict):
            return {name: self._compiled(inner, f"{field}.{name}") for name, inner in value.items()}
        if isinstance(value, list):
            return [self._compiled(inner, field) for inner in value]
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            compiled = self._templates.compile(value.strip(), field)
            self.columns += compiled.columns
            return compiled
        return value

    def _rendered(self, value: Any, row: Sequence[Any]) -> Any:
        if isinstance(value, dict):
            made = {name: self._rendered(inner, row) for name, inner in value.items()}
            return {name: inner for name, inner in made.items() if inner is not None}
        if isinstance(value, list):
            return [self._rendered(inner, row) for inner in value]
        if callable(render := getattr(value, "render", None)):
            return row[value.whole] if value.whole is not None else render(row)
        return value
