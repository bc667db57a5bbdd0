"""The answer of a result line as an instance of the class that described it."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers.reasons import Verdict  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.jsonl import decode_as
from gemini_batch.protocol.schema_checker import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its answer, for programs."""

    key: str
    """Key of the request."""
    verdict: Verdict
    """What became of it; `invalid` also if the answer is no instance of the class that was asked for."""
    value: Any
    """The answer: an instance, the object that the schema describes, the text, or the embedding; None unless the
    request succeeded."""
    text: str | None
    """The text of the answer, also of one that was cut off."""
    problem: str | None
    """What is wrong, as a sentence; None if nothing is."""
    line: dict[str, Any]
    """The decoded result line."""


def row_of(line: dict[str, Any], model: Any = None) -> ResultRow:
    """A decoded result line as a row; ``model`` as for :func:`value_of`."""
    response, verdict = line.get("response") or {}, line["verdict"]
    problem = line["error"]["message"] if "error" in line else None
    value: Any = None
    if verdict == "succeeded":
        try:
            value = _value(line, response, model)
        except ValueError as error:
            verdict, problem = "invalid", f"The answer does not fit {getattr(model, '__name__', model)}: {_why(error)}"
    text = response.get("text")
    return ResultRow(key=line["key"], verdict=verdict, value=value, text=text, problem=problem, line=line)


def _why(error: ValueError) -> str:
    """What is wrong with an answer, on one line, without the answer itself; pydantic says it over several lines."""
    listed: Callable[[], list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if listed is None:
        return next(iter(str(error).splitlines()), type(error).__name__)
    first, *others = listed()
    place = path_of(first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"


def _value(line: dict[str, Any], response: dict[str, Any], model: Any) -> Any:
    if model is not None:
        return value_of(line, model)
    if "embedding" in response:
        return response["embedding"].get("values")
    return response["parsed"] if "parsed" in response else response.get("text")


def value_of(line: Mapping[str, Any], model: Any) -> Any:
    """The answer of a decoded result line (docs/result-line.md) as a ``model``.

    ``model``: a pydantic model, a dataclass, a TypedDict, a msgspec Struct, or a type made of them, such as a list.
    None stands for the decoded JSON itself. Returns None if the request did not succeed, or was answered without a
    text. Raises ``ValueError`` if the answer is no ``model``: a class can ask for more than its schema says.
    """
    if line["verdict"] != "succeeded":
        return None
    text = line["response"].get("text")
    if text is None:
        return None
    if model is None:
        return line["response"]["parsed"]
    return _reader(model)(text.encode())


@lru_cache(maxsize=64)
def _reader(model: Any) -> Callable[[bytes], Any]:
    read: Callable[[bytes], Any] | None = getattr(model, "model_validate_json", None)
    if read is not None:
        return read
    if "pydantic" in sys.modules and _is_of_pydantic(model):
        from pydantic import TypeAdapter

        return TypeAdapter(model).validate_json
    return lambda data: decode_as(data, model)


def _is_of_pydantic(model: Any) -> bool:
    """Whether pydantic made a class, or a class inside a type."""
    return hasattr(model, "__pydantic_core_schema__") or any(map(_is_of_pydantic, getattr(model, "__args__", ())))
