"""The answer of a result line as an instance of the class that described it."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gemini_batch.jsonl import decode_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
