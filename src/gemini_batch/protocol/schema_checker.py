"""Compares decoded JSON with a JSON Schema. Nothing is ever fetched: a reference leads into the schema itself."""

from __future__ import annotations

import re
from datetime import datetime, time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jsonschema_rs import ValidationError, Validator

#: Stands for the value in the library's messages.
_VALUE = "\x00"
#: The longest part of a value, or of a list of names, that a message shows.
_SHOWN = 60
#: The longest path, and the longest text after it.
_LONGEST_PATH, _LONGEST_TEXT = 200, 300
#: The names of properties that only the answer has.
_UNEXPECTED = re.compile(r" \((?s:.*) (?:was|were) unexpected\)$")
_NAME = re.compile(r"\$?[^\W\d]\w*")
#: RFC 3339. Models, like people, often leave out the time zone.
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
_DATE_TIME = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ]{_TIME}")
_TIME_ALONE = re.compile(_TIME)
_FRACTION = re.compile(r"\.[0-9]+")


class NotASchema(ValueError):
    """Answers cannot be compared with this schema."""


class Flaw(NamedTuple):
    """Why a value does not satisfy a schema.

    ``exact``: with the path and the value. ``general``: the same for all values of that kind, without index and value.
    """

    exact: str
    general: str


class Checker:
    """A compiled JSON Schema."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    def flaw(self, value: Any) -> Flaw | None:
        """Why a decoded value does not satisfy the schema, or None if it does. Never raises."""
        try:
            if self._validator.is_valid(value):
                return None
            return next((_worded(one) for one in self._validator.iter_errors(value)), None)
        except ValueError as error:  # nested more deeply than the library reads
            return Flaw(f"it cannot be compared with the schema: {error}", "it cannot be compared with the schema")


def compile_schema(schema: bytes) -> Checker:
    """The checker of a JSON Schema, given as JSON. Raises :class:`NotASchema`."""
    import jsonschema_rs

    try:
        value = jsonl.decode(schema)
        made = jsonschema_rs.validator_for(value, validate_formats=True, formats=_formats(), mask=_VALUE, offline=True)
    except jsonschema_rs.ValidationError as error:
        raise NotASchema(_worded(error).exact) from None
    except (ValueError, RecursionError) as error:
        raise NotASchema(str(error)) from None
    return Checker(made)


@lru_cache(maxsize=64)
def checker_of(schema: bytes | None) -> Checker | None:
    """The same, kept for the next answers; None without a schema, or if answers cannot be compared with it."""
    try:
        return None if schema is None else compile_schema(schema)
    except NotASchema:
        return None


@cache
def _formats() -> dict[str, Callable[[str], bool]]:
    return {"date-time": _is_date_time, "time": _is_time}


def _is_date_time(text: str) -> bool:
    return _DATE_TIME.fullmatch(text) is not None and _reads(datetime.fromisoformat, text)


def _is_time(text: str) -> bool:
    return _TIME_ALONE.fullmatch(text) is not None and _reads(time.fromisoformat, text)


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        # Leap seconds are rare, and more than six digits of a second are not: neither can be read.
        read(_FRACTION.sub("", text.upper().replace(":60", ":59")))
    except ValueError:
        return False
    return True


def _worded(error: ValidationError) -> Flaw:
    error = _innermost(error)
    steps = list(error.instance_path)
    message = _of_other_type(error) or error.message.replace("False schema does not", "the schema does not")
    general = _at(path_of([None if isinstance(step, int) else step for step in steps]), _UNEXPECTED.sub("", message))
    exact = _at(path_of(steps), message.replace(_VALUE, _shown(error.instance), 1))
    return Flaw(exact, general)


def _at(path: str, text: str) -> str:
    path, text = _shortened(path, _LONGEST_PATH), _shortened(text.replace(_VALUE, "the value"), _LONGEST_TEXT)
    return f"{path}: {text}" if path else text


def _shortened(text: str, longest: int) -> str:
    """A text with its middle left out if it is long: an answer can have any number of properties, of any name."""
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-longest // 2 :]}"


def path_of(steps: Sequence[str | int | None]) -> str:
    """Steps into a JSON value as a path, ``topics[2].name``; ``[]`` stands for any index, None."""
    parts = []
    for step in steps:
        if step is None:
            parts.append("[]")
        elif isinstance(step, int):
            parts.append(f"[{step}]")
        elif _NAME.fullmatch(step) and len(step) <= _SHOWN:
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{_shown(step)}]")
    return "".join(parts)


def _shown(value: object) -> str:
    text = jsonl.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _innermost(error: ValidationError) -> ValidationError:
    """Of a choice of schemas none of which fits: the error in the only one that was meant, if that is clear."""
    while branches := _branches(error):
        here = len(error.instance_path)
        meant = [branch for branch in branches if not any(_rules_out(one, here) for one in branch)]
        if len(meant) != 1:
            break
        error = meant[0][0]
    return error


def _branches(error: ValidationError) -> list[list[ValidationError]]:
    context: list[list[ValidationError]] = getattr(error.kind, "context", [])
    return [branch for branch in context if branch] if error.kind.name in {"anyOf", "oneOf"} else []


def _rules_out(error: ValidationError, here: int) -> bool:
    """Whether a branch was not meant: the value is of another type, or a property of it names another branch."""
    return len(error.instance_path) <= here + (error.kind.name != "type") and error.kind.name in {
        "type",
        "const",
        "enum",
    }


def _of_other_type(error: ValidationError) -> str | None:
    """The message for a value of none of the types of a choice."""
    branches = _branches(error)
    if not branches or not all(_is_type_of(branch[0], error) for branch in branches):
        return None
    kinds = [kind for branch in branches for kind in getattr(branch[0].kind, "types", [])]
    named = ", ".join(f'"{kind}"' for kind in dict.fromkeys(kinds))
    return f"{_VALUE} is not of types {named}"


def _is_type_of(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.kind.name == "type" and list(inner.instance_path) == list(outer.instance_path)
