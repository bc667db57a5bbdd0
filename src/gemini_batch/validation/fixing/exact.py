"""JSON that comes back as it was: whole numbers of any length, and decimals with all their digits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeGuard

import msgspec

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def decode(data: bytes | str) -> Any:
    """Decode one JSON value; numbers with a fraction or an exponent become ``Decimal``.

    Raises ``ValueError``, also for what is nested too deeply.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as bad:
        raise ValueError(str(bad)) from None


def encode(value: object) -> bytes:
    """Encode what :func:`decode` returned as compact JSON, without a line ending."""
    return _encode(value)


def is_object(text: object) -> TypeGuard[str]:
    """Whether a value is a string that looks like an encoded object."""
    return type(text) is str and text.lstrip()[:1] == "{"


def fresh(value: Any) -> Any:
    """The same value in new lists and objects. Raises RecursionError."""
    if type(value) is dict:
        return {name: fresh(inner) for name, inner in value.items()}
    if type(value) is list:
        return [fresh(inner) for inner in value]
    return value
